# S3T's server on Debian, with Mesa's lavapipe as the WebGPU adapter where the container has no GPU.
#
#     docker build -t s3t .
#     chown -R 1000 runs/mine    # it does not run as root
#     docker run --rm -v "$PWD/runs/mine:/run/s3t" s3t api-key create --run /run/s3t --role admin --name me
#     docker run --rm -p 8787:8787 -v "$PWD/runs/mine:/run/s3t" s3t

FROM node:24-bookworm-slim AS build
WORKDIR /s3t
COPY package.json package-lock.json tsconfig.base.json tsconfig.json turbo.json ./
COPY kernels ./kernels
COPY packages ./packages
COPY apps ./apps
COPY bench ./bench
COPY tools ./tools
RUN npm ci --ignore-scripts
RUN node_modules/.bin/turbo run build --filter=@s3t/cli
# The compiler was needed until here; the runtimes that npm brings are for checkouts.
RUN npm prune --ignore-scripts --omit=dev \
  && rm -rf node_modules/@deno node_modules/@oven node_modules/node-linux-* node_modules/node-win-*

FROM node:24-bookworm-slim
RUN apt-get update \
  && apt-get install -y --no-install-recommends libvulkan1 mesa-vulkan-drivers \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /s3t
COPY --from=build /s3t/node_modules ./node_modules
COPY --from=build /s3t/kernels ./kernels
COPY --from=build /s3t/packages ./packages
COPY --from=build /s3t/apps ./apps
COPY assets ./assets
RUN mkdir -p /run/s3t && chown node:node /run/s3t
USER node
EXPOSE 8787
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:8787/health/ready').then(({ok}) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "apps/cli/bin/s3t.mjs"]
CMD ["serve", "--run", "/run/s3t", "--host", "0.0.0.0", "--log", "json"]
