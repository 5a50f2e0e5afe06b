import type { Service } from './service.ts';

/** The fields of a row that an input is made of: that of an image file, or those of the texts, of a language model but for its response. */
export function inputFields({
  task,
  reads,
  config,
}: Pick<Service, 'task' | 'reads' | 'config'>): readonly string[] {
  const { image, text = [] } = config.data;
  if (reads === 'image') return image === undefined ? [] : [image];
  return task === 'causal-lm' && text.length > 1 ? text.slice(0, -1) : text;
}
