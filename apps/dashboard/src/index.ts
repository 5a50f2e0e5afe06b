export { files, type PageFile } from './files.ts';
