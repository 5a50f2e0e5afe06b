import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import type { KeyFile } from '@s3t/server/api-keys';
import { type Command, Option } from 'commander';
import { CommandError, UsageError } from '../errors.ts';
import { API_KEYS, JSON_OUTPUT, RUN, type RunOptions } from '../options.ts';
import { print, printJson, say } from '../terminal/print.ts';
import { table } from '../terminal/table.ts';

interface Options extends RunOptions {
  apiKeys?: string;
}

interface CreateOptions extends Options {
  role: 'inference' | 'audit' | 'admin';
  name?: string;
}

/** `s3t api-key`: who may ask the server what. */
export function addApiKey(program: Command): void {
  const group = program
    .command('api-key')
    .description(
      'who may ask the server what: make, list and revoke API keys; a running server follows at once',
    );
  const add = (name: string, description: string): Command =>
    group
      .command(name)
      .description(description)
      .requiredOption(...RUN)
      .option(...API_KEYS)
      .option(...JSON_OUTPUT);
  const role = new Option(
    '--role <role>',
    'inference: predictions; audit: also reads everything, and exact scores; admin: also erases and repairs',
  );
  add('create', 'make a key and print it, once: only its hash is kept')
    .addOption(role.choices(['inference', 'audit', 'admin']).makeOptionMandatory())
    .option('--name <text>', 'what to call it in the list')
    .action(create);
  add('list', 'the keys there are, without their texts').action(list);
  add('revoke', 'take a key back').argument('<id>', 'as the list tells it').action(revoke);
}

async function create({ role, name, json, ...where }: CreateOptions): Promise<void> {
  const file = await keyFile(where);
  const { key, secret } = await file.create(role, name);
  const { hash: _, ...told } = key;
  if (json) printJson({ ...told, key: secret });
  else {
    print(secret);
    say(`key ${key.id} (${role}) is in ${file.file}; this is the only time its text is shown`);
  }
}

async function list({ json, ...where }: Options): Promise<void> {
  const keys = (await (await keyFile(where)).list()).map(({ hash: _, ...told }) => told);
  if (json) printJson({ keys });
  else {
    const columns = ['id', 'role', 'created', 'name'].map((title) => ({ title }));
    print(
      table(
        columns,
        keys.map(({ id, role, createdAt, name }) => [id, role, createdAt, name]),
      ),
    );
  }
}

async function revoke(id: string, { json, ...where }: Options): Promise<void> {
  const file = await keyFile(where);
  if (!(await file.revoke(id))) throw new CommandError(`${file.file}: there is no key ${id}`);
  if (json) printJson({ revoked: id });
  else print(`revoked ${id}`);
}

async function keyFile({ run, apiKeys }: Options): Promise<KeyFile> {
  const { KeyFile, keyFileOf } = await import('@s3t/server/api-keys');
  const file = apiKeys ?? keyFileOf(run);
  if (!existsSync(dirname(file))) throw new UsageError(`${dirname(file)}: there is no such folder`);
  return new KeyFile(file);
}
