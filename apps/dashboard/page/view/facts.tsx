import { percent, short } from '../model/format.ts';
import { erasuresLeft } from '../model/run.ts';
import type { Point, Status } from '../model/types.ts';

export function Facts({ status, history }: { status: Status; history: readonly Point[] }) {
  const { shards } = status;
  const full = shards[0]?.sequences[0]?.stages.length ?? 0;
  const depths = shards.map(({ servedDepth }) => servedDepth);
  const serving = depths.filter((depth) => depth > 0).length;
  const mean = depths.reduce((sum, depth) => sum + depth, 0) / Math.max(1, depths.length);
  const measured = history.findLast(({ accuracy }) => accuracy !== null);
  return (
    <dl class="facts">
      <Fact name="Shards serving" of={shards.length} warn={serving < shards.length}>
        {serving}
      </Fact>
      <Fact name="Mean served depth" of={full}>
        {Number(mean.toFixed(2))}
      </Fact>
      <Fact
        name="Accuracy"
        note={measured && measured.version !== status.version ? `version ${measured.version}` : undefined}
      >
        {measured ? percent(measured.accuracy!) : '–'}
      </Fact>
      <Fact name="Erasures left, expected" note="until no shard serves">
        {erasuresLeft(status).toFixed(1)}
      </Fact>
      <Fact name="Records">{status.records.toLocaleString('en')}</Fact>
      <Fact name="Erased">{status.erased.toLocaleString('en')}</Fact>
      <Fact name="Version" note={<code title={status.manifest}>{short(status.manifest)}</code>}>
        {status.version}
      </Fact>
    </dl>
  );
}

interface FactProps {
  name: string;
  of?: number;
  note?: preact.ComponentChildren;
  warn?: boolean;
  children: preact.ComponentChildren;
}

function Fact({ name, of, note, warn, children }: FactProps) {
  return (
    <div data-warn={warn || undefined}>
      <dt>{name}</dt>
      <dd>
        {children}
        {of !== undefined && <small> of {of}</small>}
        {note !== undefined && <span class="note-line">{note}</span>}
      </dd>
    </div>
  );
}
