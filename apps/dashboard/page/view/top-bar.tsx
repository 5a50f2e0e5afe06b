import { useState } from 'preact/hooks';
import { session } from '../model/api.ts';
import { type State, store } from '../model/store.ts';

const LINK: Record<State['link'], string> = { wait: 'connecting', live: 'live', lost: 'reconnecting' };

export function TopBar({ link }: { link: State['link'] }) {
  return (
    <header class="top">
      <img src="/assets/icon.svg" alt="" width="30" height="30" />
      <h1>S3T</h1>
      <p class="link" data-state={link} role="status">
        {LINK[link]}
      </p>
      <nav aria-label="Page">
        <a href="/docs">API</a>
        <ThemeButton />
        {session.key !== null && (
          <button type="button" class="quiet" onClick={() => store.signOut()}>
            Sign out
          </button>
        )}
      </nav>
    </header>
  );
}

const THEMES = ['system', 'light', 'dark'] as const;

export function ThemeButton() {
  const root = document.documentElement;
  const [theme, setTheme] = useState<string>(root.dataset.theme ?? 'system');
  const next = THEMES[(THEMES.indexOf(theme as 'system') + 1) % THEMES.length]!;
  const choose = (): void => {
    if (next === 'system') delete root.dataset.theme;
    else root.dataset.theme = next;
    try {
      if (next === 'system') localStorage.removeItem('s3t-theme');
      else localStorage.setItem('s3t-theme', next);
    } catch {
      // Chosen for this page alone, then.
    }
    setTheme(next);
    dispatchEvent(new Event('s3t-theme'));
  };
  return (
    <button type="button" class="quiet" onClick={choose} aria-label={`Theme: ${theme}. Change to ${next}`}>
      <svg class="theme" viewBox="0 0 16 16" width="14" height="14" aria-hidden="true">
        <circle cx="8" cy="8" r="6.5" />
        <path d="M8 1.5a6.5 6.5 0 0 1 0 13z" />
      </svg>
      {theme}
    </button>
  );
}
