import { useState } from 'preact/hooks';
import { type ApiError, session } from '../model/api.ts';
import { store } from '../model/store.ts';

/** Asks for an API key. It stays in this tab's session storage: closing the tab forgets it. */
export function SignIn({ refused }: { refused: ApiError }) {
  const [key, setKey] = useState('');
  // Without a key nothing went wrong yet.
  const fault = session.key === null && refused.status === 401 ? null : refused.message;
  const submit = (event: Event): void => {
    event.preventDefault();
    if (key.trim() === '') return;
    session.signIn(key.trim());
    store.connect();
  };
  return (
    <main class="sign-in">
      <form onSubmit={submit} class="panel">
        <img src="/assets/icon.svg" alt="" width="40" height="40" />
        <h1>S3T</h1>
        <p class="soft">
          This server wants an API key: <b>audit</b> to look, <b>admin</b> to erase and repair.
        </p>
        <label for="key">API key</label>
        <input
          id="key"
          type="password"
          autocomplete="off"
          spellcheck={false}
          value={key}
          aria-invalid={fault !== null}
          aria-describedby="key-error"
          onInput={(event) => setKey(event.currentTarget.value)}
        />
        <p id="key-error" class="error" role="alert">
          {fault}
        </p>
        <button type="submit" class="primary">
          Sign in
        </button>
        <p class="hint">
          Kept until this tab is closed. <code>s3t api-key create</code> makes one.
        </p>
      </form>
    </main>
  );
}
