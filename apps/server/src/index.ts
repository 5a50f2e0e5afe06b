export { type App, createApp } from './app.ts';
export type { AppOptions } from './options.ts';
export { Problem } from './problem.ts';
export type { Service } from './service.ts';
