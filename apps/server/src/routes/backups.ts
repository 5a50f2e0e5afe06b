import { Hono } from 'hono';
import { describeRoute } from 'hono-openapi';
import { readBody } from '../body.ts';
import type { Shared } from '../context.ts';
import { json, problems } from '../openapi.ts';
import { Problem } from '../problem.ts';
import { backupSchema, makeBackupSchema } from '../schemas.ts';

export function backupRoutes({ service, access, closing }: Shared): Hono {
  const description = describeRoute({
    operationId: 'backup',
    summary: 'Writes a backup into the run folder, for s3t backup to move away',
    description:
      'It lies there as `backup.staged`, no path is taken or told. The next erasure or backup, and the end of the server, remove it.',
    requestBody: { required: true, content: json(makeBackupSchema) },
    responses: {
      201: { description: 'It is written, of one moment.', content: json(backupSchema) },
      ...problems(400, 413, 415, 503, 507),
    },
  });
  return new Hono().post('/v1/backups', access.allow('admin'), description, async (c) => {
    const choice = await readBody(c, makeBackupSchema, { fields: [], items: 0 });
    if (closing.aborted) throw new Problem(503, 'closing', 'the server is shutting down', { retryAfter: 5 });
    return c.json(await service.stageBackup(choice), 201);
  });
}
