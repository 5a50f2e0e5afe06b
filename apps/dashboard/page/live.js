// The server's event stream.

const names = [
  'hello',
  'version',
  'erased',
  'repair',
  'work-started',
  'work-finished',
  'stage-started',
  'stage-published',
  'stage-superseded',
  'step',
];

/**
 * Calls `on` for every event, and `onState` when the connection comes and goes. The browser reconnects by itself, except after an
 * error answer; then we do.
 * @param {(name: string, data: any) => void} on
 * @param {(live: boolean) => void} onState
 */
export function follow(on, onState) {
  const source = new EventSource('/v1/events');
  for (const name of names) {
    source.addEventListener(name, (event) => on(name, JSON.parse(/** @type {MessageEvent} */ (event).data)));
  }
  source.addEventListener('open', () => onState(true));
  source.addEventListener('error', () => {
    onState(false);
    if (source.readyState === EventSource.CLOSED) setTimeout(() => follow(on, onState), 2000);
  });
}
