import { useEffect, useReducer } from 'preact/hooks';
import { store } from '../model/store.ts';
import { Charts } from './charts.tsx';
import { ErasePanel } from './erase.tsx';
import { Events } from './events.tsx';
import { Facts } from './facts.tsx';
import { RunMap } from './map.tsx';
import { Receipts } from './receipts.tsx';
import { RepairPanel } from './repair.tsx';
import { SignIn } from './sign-in.tsx';
import { TopBar } from './top-bar.tsx';
import { TryIt } from './try-it.tsx';

export function App() {
  const [, redraw] = useReducer((n: number) => n + 1, 0);
  useEffect(() => store.subscribe(() => redraw(0)), []);
  const { state } = store;
  if (state.refused !== null) return <SignIn refused={state.refused} />;
  const { status } = state;
  return (
    <>
      <a class="skip" href="#map">
        Skip to the map
      </a>
      <TopBar link={state.link} />
      {status === null ? (
        <Waiting lost={state.link === 'lost'} why={state.why} />
      ) : (
        <main>
          <Facts status={status} history={state.history} />
          <div class="column">
            <RunMap state={state} status={status} />
            <Charts history={state.history} status={status} />
            <Receipts receipts={state.receipts} erased={status.erased} />
          </div>
          <div class="column">
            <ErasePanel status={status} />
            <RepairPanel state={state} status={status} />
            <TryIt status={status} />
            <Events log={state.log} />
          </div>
        </main>
      )}
    </>
  );
}

/** The page's outline, before there is anything to show. */
function Waiting({ lost, why }: { lost: boolean; why: string | null }) {
  return (
    <main aria-busy={!lost}>
      <p class="wait" role="status">
        {lost
          ? `${why === null ? 'The server does not answer' : `The server answers: ${why}`}. Trying again …`
          : 'Asking the server …'}
      </p>
    </main>
  );
}
