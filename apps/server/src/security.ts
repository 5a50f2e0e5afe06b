import type { MiddlewareHandler } from 'hono';
import { secureHeaders } from 'hono/secure-headers';
import { Problem } from './problem.ts';

/** Response headers. The pages we serve need nothing from elsewhere and hold no inline script or style. */
export function headers(): MiddlewareHandler {
  const self = ["'self'"];
  return secureHeaders({
    // TLS belongs to the proxy in front; a promise of it over plain HTTP means nothing.
    strictTransportSecurity: false,
    xFrameOptions: 'DENY',
    contentSecurityPolicy: {
      defaultSrc: ["'none'"],
      scriptSrc: self,
      styleSrc: self,
      imgSrc: self,
      connectSrc: self,
      baseUri: ["'none'"],
      formAction: ["'none'"],
      frameAncestors: ["'none'"],
      requireTrustedTypesFor: ["'script'"],
      trustedTypes: ["'none'"],
    },
  });
}

/** A page of another site, open in the browser of someone who can reach us, must not erase anything. */
export const sameSiteOnly: MiddlewareHandler = async (c, next) => {
  if (c.req.method !== 'GET' && c.req.method !== 'HEAD' && isCrossSite(c.req.raw.headers)) {
    throw new Problem(403, 'cross-site', 'requests from pages of other sites are refused');
  }
  await next();
};

function isCrossSite(headers: Headers): boolean {
  const site = headers.get('sec-fetch-site');
  if (site !== null) return site !== 'same-origin' && site !== 'none';
  // Browsers leave Sec-Fetch-Site out over plain HTTP, but send Origin. Programs send neither.
  const origin = headers.get('origin');
  return origin !== null && !(URL.canParse(origin) && new URL(origin).host === headers.get('host'));
}
