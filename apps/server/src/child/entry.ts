// The process that holds a run for a server, started by `ChildRun`.
import '@s3t/ledger/loading';
import { openRehearsed } from '../hold-here.ts';
import { holdForParent } from './hold-for-parent.ts';

await holdForParent(openRehearsed);
