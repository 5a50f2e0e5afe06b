import { moment } from '../model/format.ts';
import type { LogLine } from '../model/store.ts';

export function Events({ log }: { log: readonly LogLine[] }) {
  return (
    <section class="panel events" aria-labelledby="log-title">
      <h2 id="log-title">Events</h2>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard */}
      <div class="log" role="log" aria-labelledby="log-title" tabIndex={0}>
        <ol>
          {log.map(({ id, at, kind, text }) => (
            <li key={id} data-kind={kind}>
              <time dateTime={at.toISOString()}>{moment(at)}</time>
              <span>{text}</span>
            </li>
          ))}
        </ol>
      </div>
    </section>
  );
}
