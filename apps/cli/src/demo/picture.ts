import { drawing, element, text } from '@s3t/laboratory/plot';
import type { Status } from '@s3t/unlearner';
import { count, duration, percent, plural } from '../terminal/format.ts';
import { answerStrip, stripHeight } from './answer-strip.ts';
import type { Report } from './report.ts';
import type { Service } from './service.ts';
import { type CellKind, mapHeight, stageMap, swatch } from './stage-map.ts';

/** The run at its three moments, and what happened in between. */
export interface Story
  extends Pick<Service, 'before' | 'afterErasure' | 'afterRepair' | 'erasures' | 'answers'> {
  report: Report;
  verifiedShards: readonly number[];
}

const WIDTH = 960;
const MARGIN = 40;
const PANEL = 300;
const GREY = '#52606d';

/** Draws a run of the demo: the stages before, after the erasures and after the repair, and every answer in between. */
export function drawStory(story: Story): string {
  const { report, before, afterErasure, afterRepair } = story;
  const sequences = before.shards[0]?.sequences.length ?? 0;
  const mapTop = 196;
  const legendTop = mapTop + mapHeight(before.shards.length, sequences) + 26;
  const stripTop = legendTop + 72;
  const footTop = stripTop + stripHeight(story.erasures.length) + 40;
  const { accuracy, seconds } = report;
  const panels: [string, number, string, Status, Status?][] = [
    ['Trained', accuracy.before, `in ${duration(seconds.train)}`, before],
    ['Erased', accuracy.afterErasure, 'still in service', afterErasure, before],
    ['Repaired', accuracy.afterRepair, `in ${duration(seconds.repair)}`, afterRepair, before],
  ];
  const content = panels.flatMap(([title, value, note, status, earlier], index) => {
    const x = MARGIN + index * PANEL;
    return [
      text(x, 116, title, { size: 15, weight: 600 }),
      text(x, 148, percent(value, 1), { size: 26, weight: 600 }),
      text(x, 169, `accuracy, ${note}`, { size: 12, color: GREY }),
      ...stageMap(x, mapTop, status, earlier),
    ];
  });
  return drawing(WIDTH, footTop + 46, 'An S3T run: trained, erased, repaired', [
    text(MARGIN, 48, 'Trained, erased, repaired', { size: 22, weight: 600 }),
    text(MARGIN, 74, subtitle(before, report), { size: 13, color: GREY }),
    ...content,
    ...legend(legendTop),
    text(
      MARGIN,
      stripTop,
      'Every answer while records were erased, by the version of the ensemble that gave it',
      { size: 13, weight: 600 },
    ),
    ...answerStrip(MARGIN, stripTop + 8, WIDTH - 2 * MARGIN, story.answers, story.erasures),
    ...footer(footTop, story),
  ]);
}

function subtitle({ shards, records, erased }: Status, { erasures }: Report): string {
  const [{ sequences = [] } = {}] = shards;
  const gone = erasures.reduce((sum, erasure) => sum + erasure.records, 0);
  return [
    `${count(records + erased)} handwritten digits`,
    `${shards.length} shards of ${sequences[0]?.order.length ?? 0} slices`,
    `${plural(sequences.length, 'sequence')} each`,
    `${plural(gone, 'record')} erased in ${plural(erasures.length, 'request')}`,
  ].join(', ');
}

function legend(y: number): string[] {
  const entries: [CellKind, string][] = [
    ['served', 'serving'],
    ['active', 'trained, in reserve'],
    ['deactivated', 'deactivated and destroyed'],
    ['repairedServed', 'trained again, serving'],
    ['repairedActive', 'trained again, in reserve'],
  ];
  const columns = [0, 100, 270, 480, 680];
  const parts = entries.flatMap(([kind, label], index) => {
    const at = MARGIN + columns[index]!;
    return [swatch(at, y, 24, 14, kind), text(at + 31, y + 11.5, label, { size: 12, color: GREY })];
  });
  return [
    ...parts,
    text(MARGIN, y + 32, 'A row is a sequence, a number the slice that its position adds.', {
      size: 12,
      color: GREY,
    }),
  ];
}

function footer(y: number, { report, answers, verifiedShards }: Story): string[] {
  const { violations, verify } = report;
  const good = violations === 0 && verify.identical;
  const where = `shard${verifiedShards.length > 1 ? 's' : ''} ${verifiedShards.join(', ')}`;
  return [
    element('rect', { x: MARGIN, y: y - 14, width: 4, height: 40, fill: good ? '#2f7d5b' : '#c2502f' }),
    text(
      MARGIN + 14,
      y + 1,
      `${violations} of ${count(answers.length)} answers above came from a stage whose deactivation had been acknowledged.`,
    ),
    text(
      MARGIN + 14,
      y + 22,
      verify.identical
        ? `All ${verify.compared} stages of ${where} equal, bit for bit, those trained by another process without the erased records.`
        : `The stages of ${where} differ from those trained without the erased records.`,
    ),
  ];
}
