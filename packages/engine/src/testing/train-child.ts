import { Device } from '../index.ts';
import { trainedBits } from './block.ts';

// Trains the block in a process of its own and prints the bits of what it learnt.
using device = await Device.open();
process.stdout.write(JSON.stringify(await trainedBits(device, Number(process.argv[2]))));
