// Prints what the packed engine beside it is worth in the runtime that runs this.
import { conformance } from './testing/conformance.js';

console.log(JSON.stringify(await conformance()));
