// Serves the run in argv until it is told to end; prints its address. Started by end-to-end.test.ts.
import { serve } from '../node.ts';

const serving = await serve({ run: process.argv[2] ?? '', port: 0 });
console.log(serving.url);
await serving.closed;
