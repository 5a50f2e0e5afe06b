export type { ApiKey, KeyRing, Role } from './access.ts';
export { type App, createApp } from './app.ts';
export type { AppOptions } from './options.ts';
export { Problem } from './problem.ts';
export { jsonLog, type RequestLine } from './request-log.ts';
export type { Service } from './service.ts';
