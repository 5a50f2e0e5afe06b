// Who may do what. A key has a role; each role may do what those before it may.
import type { Context, MiddlewareHandler } from 'hono';
import { auth as basicAuth } from 'hono/utils/basic-auth';
import { Problem } from './problem.ts';
import { RateLimiter } from './rate-limit.ts';

/** `inference` asks for predictions; `audit` also reads everything there is, and full scores; `admin` also erases and repairs. */
export const ROLES = ['inference', 'audit', 'admin'] as const;
export type Role = (typeof ROLES)[number];

/** What is known of a key: its text is known to its holder alone. */
export interface ApiKey {
  id: string;
  role: Role;
}

/** The keys of a server. */
export interface KeyRing {
  /** Whether a request needs a key. While none does, only requests from this machine are answered. */
  isRequired(): Promise<boolean>;
  /** The key with this text, null when there is none. Takes a time that does not depend on how much of it is right. */
  find(secret: string): Promise<ApiKey | null>;
}

declare module 'hono' {
  interface ContextVariableMap {
    /** Whose key a request brought; null where none is needed, undefined on paths that ask for none. */
    caller: ApiKey | null | undefined;
  }
}

/** Wrong keys an address may try per second: guessing is hopeless anyway, and must not cost us anything either. */
const STRANGERS_PER_SECOND = 10;

/** Makes the middleware that lets a route's callers in, by role. */
export class Access {
  readonly #keys: KeyRing | undefined;
  readonly #callers: RateLimiter | undefined;
  readonly #strangers = new RateLimiter(STRANGERS_PER_SECOND);
  readonly #then: MiddlewareHandler;

  /**
   * @param perSecond requests a key, or an address where no keys are needed, may make; 0 is no limit
   * @param then what comes next for whoever was let in, and for nobody else
   */
  constructor(keys: KeyRing | undefined, perSecond: number, then: MiddlewareHandler) {
    this.#keys = keys;
    this.#then = then;
    this.#callers = perSecond > 0 ? new RateLimiter(perSecond, 2 * perSecond) : undefined;
  }

  /** Lets in who has at least this role. 401 without a key, 403 with one that may not, 429 too often. */
  allow(role: Role): MiddlewareHandler {
    return async (c, next) => {
      const caller = await this.#callerOf(c);
      const wait = this.#callers?.take(caller?.id ?? addressOf(c.env)) ?? 0;
      if (wait > 0) throw tooMany(wait);
      if (caller !== null && ROLES.indexOf(caller.role) < ROLES.indexOf(role)) {
        const message = `this key has the role ${caller.role}; this needs ${role}`;
        throw new Problem(403, 'forbidden', message);
      }
      c.set('caller', caller);
      await this.#then(c, next);
    };
  }

  /** Whether whoever was let in would be again, for answers that go on. */
  async isStillIn(c: Context): Promise<boolean> {
    const caller = c.get('caller');
    if (this.#keys === undefined) return true;
    if (!caller) return !(await this.#keys.isRequired());
    return (await this.#keys.find(secretOf(c) ?? ''))?.id === caller.id;
  }

  async #callerOf(c: Context): Promise<ApiKey | null> {
    if (this.#keys === undefined) return null;
    if (!(await this.#keys.isRequired())) {
      // A page elsewhere whose name was made to point here (DNS rebinding) comes with that name.
      if (isLoopback(new URL(c.req.url).hostname)) return null;
      throw new Problem(403, 'host', 'without API keys only requests to a loopback address are answered');
    }
    const secret = secretOf(c);
    const found = secret === undefined ? null : await this.#keys.find(secret);
    if (found !== null) return found;
    const wait = this.#strangers.take(addressOf(c.env));
    if (wait > 0) throw tooMany(wait);
    c.header('WWW-Authenticate', 'Bearer realm="S3T"');
    throw secret === undefined
      ? new Problem(401, 'no-key', 'this needs an API key, as Authorization: Bearer KEY')
      : new Problem(401, 'wrong-key', 'this API key is not known here');
  }
}

/** Whether a caller is trusted with exact scores: comparing them before and after an erasure helps to extract what was erased. */
export function mayReadScores(c: Context): boolean {
  const role = c.get('caller')?.role;
  return role === 'audit' || role === 'admin';
}

/** Whether a host name means this machine. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host === '[::1]' || /^127(\.\d{1,3}){3}$/.test(host);
}

/** `Bearer KEY`; or, from what knows only names and passwords, any name and the key as the password. */
function secretOf(c: Context): string | undefined {
  const [, bearer] = /^Bearer +(\S+) *$/i.exec(c.req.header('authorization') ?? '') ?? [];
  return bearer ?? basicAuth(c.req.raw)?.password;
}

/** Where a request comes from, as the runtime tells it: Node's adapter by its socket, Deno by name. */
function addressOf(env: unknown): string {
  const { incoming, remoteAddr } = (env ?? {}) as {
    incoming?: { socket?: { remoteAddress?: string } };
    remoteAddr?: { hostname?: string };
  };
  return incoming?.socket?.remoteAddress ?? remoteAddr?.hostname ?? 'unknown';
}

function tooMany(wait: number): Problem {
  return new Problem(429, 'rate-limit', 'too many requests; try again later', { retryAfter: wait });
}
