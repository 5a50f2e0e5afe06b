// What a task wants of a configuration.
import type { RunConfig } from './config.ts';
import { UnlearnerError } from './errors.ts';
import { TASKS } from './tasks.ts';

/**
 * Fields that only some tasks have, and what they need of each other.
 * @throws UnlearnerError `config` naming file and field
 */
export function checkTask(config: RunConfig, file: string): RunConfig {
  const { task, data: fields, training: how } = config;
  const fail = (field: string, problem: string): never => {
    throw new UnlearnerError('config', `${file}: ${field}: ${problem}`);
  };
  for (const [name, open] of Object.entries(config.partition?.open ?? {}))
    for (const slice of open)
      if (slice >= config.slices)
        fail(
          `partition.open.${name}`,
          `there is no slice ${slice}: they are 0 to ${config.slices - 1}; the nearest is ${config.slices - 1}`,
        );
  const { learns, metrics } = TASKS[task];
  const isLanguage = learns === 'tokens';
  const refused: Record<string, unknown> = isLanguage
    ? { 'data.label': fields.label, 'data.labels': fields.labels[0] }
    : { 'data.format': fields.format, 'training.learn': how.learn };
  if (learns === 'number') refused['data.labels'] = fields.labels[0];
  if (TASKS[task].reads === 'image') {
    refused['data.maxLength'] = fields.maxLength;
    refused['data.buckets'] = fields.buckets;
  } else {
    refused['data.image'] = fields.image;
    refused['training.augmentation'] = how.augmentation;
  }
  for (const [field, value] of Object.entries(refused))
    if (value !== undefined) fail(field, `is not for ${task}`);
  if (how.augmentation && how.keep)
    fail(
      'training.keep',
      'is not for pictures that training.augmentation varies: nothing of them can be kept',
    );
  if (learns === 'class' && fields.labels.length === 0) fail('data.labels', 'is missing');
  if (learns === 'number' && fields.label === undefined)
    fail('data.label', 'is missing: it names the field with the number');
  const { ensemble } = config;
  if (ensemble !== undefined && !TASKS[task].ensembles.includes(ensemble))
    fail('ensemble', `${ensemble} is not for ${task}; it has ${TASKS[task].ensembles.join(', ')}`);
  const metric = config.evaluation?.metric;
  if (metric !== undefined && !metrics.includes(metric))
    fail('evaluation.metric', `${metric} is not for ${task}; it has ${metrics.join(', ')}`);
  const { earlyStopping: stopping } = how;
  if (stopping && fields.eval === undefined)
    fail('training.earlyStopping', 'needs data.eval: it is the data that epochs are measured on');
  if (stopping?.metric !== undefined && !metrics.includes(stopping.metric))
    fail(
      'training.earlyStopping.metric',
      `${stopping.metric} is not for ${task}; it has ${metrics.join(', ')}`,
    );
  if (TASKS[task].reads === 'image') return config;
  const count =
    fields.text?.length ?? fail('data.text', `is missing: it names the fields that ${task} reads`);
  if (!isLanguage && count > 2) fail('data.text', 'must name one field, or two that are read as a pair');
  if (isLanguage && fields.format === 'alpaca' && count < 2)
    fail('data.text', 'must name the instruction, perhaps its input, and the output');
  if (isLanguage && fields.format !== 'alpaca' && count > 2)
    fail('data.text', 'must name a text, or a prompt and its response');
  if (how.learn === 'response' && count === 1)
    fail('training.learn', 'there is no response: data.text names one field');
  return config;
}
