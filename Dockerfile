# S3T's server on Debian, with Mesa's lavapipe as the WebGPU adapter where the container has no GPU.
#
# Mount what a run needs (its folder, its data, a base of your own) where it lies outside, so that its paths hold. It does not run as root:
#
#     docker build -t s3t .
#     chown -R 1000 runs/mine
#     docker run --rm -v "$PWD:$PWD" -w "$PWD" s3t api-key create --run runs/mine --role admin --name me
#     docker run --rm -v "$PWD:$PWD" -w "$PWD" -v s3t-cache:/home/node/.cache -p 8787:8787 \
#       s3t serve --run runs/mine --host 0.0.0.0 --log json
#
# The cache keeps compiled kernels and what came from a hub. Without a command, it serves a run at /run/s3t.

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
# The compiler was needed until here, which npm keeps as somebody's optional peer; the runtimes that npm brings are for checkouts.
RUN npm prune --ignore-scripts --omit=dev \
  && rm -rf node_modules/typescript node_modules/@typescript node_modules/webgpu/dist/darwin-* node_modules/webgpu/dist/win32-* \
    node_modules/@deno node_modules/@oven node_modules/node-linux-* node_modules/node-win-*

FROM node:24-bookworm-slim
# Bookworm's own Mesa is too old for Dawn.
RUN echo 'deb http://deb.debian.org/debian bookworm-backports main' > /etc/apt/sources.list.d/backports.list \
  && apt-get update \
  && apt-get install -y --no-install-recommends -t bookworm-backports libvulkan1 mesa-vulkan-drivers \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /s3t
COPY --from=build /s3t/node_modules ./node_modules
COPY --from=build /s3t/kernels ./kernels
COPY --from=build /s3t/packages ./packages
COPY --from=build /s3t/apps ./apps
COPY assets ./assets
RUN mkdir -p /run/s3t /home/node/.cache && chown node:node /run/s3t /home/node/.cache
USER node
EXPOSE 8787
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:8787/health/ready').then(({ok}) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/s3t/apps/cli/bin/s3t.mjs"]
CMD ["serve", "--run", "/run/s3t", "--host", "0.0.0.0", "--log", "json"]
