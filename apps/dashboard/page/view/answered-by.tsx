// What an answer was computed with.
import { counted, short } from '../model/format.ts';
import { stackOf } from '../model/run.ts';
import type { Served, Status } from '../model/types.ts';

/** The version, and the stages behind it as long as it is the one that is served. */
export function AnsweredBy({ served: { version, manifest }, status }: { served: Served; status: Status }) {
  const current = version === status.version;
  const serving = status.shards.filter(({ servedDepth }) => servedDepth > 0);
  const stages = serving.reduce((sum, { servedDepth }) => sum + servedDepth, 0);
  return (
    <>
      <p class="soft num">
        Version {version}, manifest <code title={manifest}>{short(manifest)}</code>
        {current
          ? `: ${counted(stages, 'stage')} of ${counted(serving.length, 'shard')}, outlined in the map.`
          : '; another one is served by now.'}
      </p>
      {current && (
        <ul class="stacks" aria-label="The stacks that answered, by slice">
          {serving.map((shard) => (
            <li key={shard.shard}>
              shard {shard.shard}: sequence {shard.servedSequence}, slices {stackOf(shard).join(' → ')}
            </li>
          ))}
        </ul>
      )}
    </>
  );
}
