import { defineConfig } from 'vite';

/** Two pages and what they load, as files with fixed names: the server sends them with `no-cache`, so names need no digest. */
export default defineConfig({
  root: `${import.meta.dirname}/page`,
  base: '/',
  logLevel: 'warn',
  resolve: { conditions: ['@s3t/source', 'module', 'browser', 'import', 'default'] },
  // Never for development, whatever NODE_ENV is: that would write each element's source file and line into the page.
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact', development: false } },
  build: {
    outDir: process.env.S3T_PAGE_OUT ?? `${import.meta.dirname}/dist/page`,
    emptyOutDir: true,
    target: 'es2023',
    // The first with light-dark(): it is not to be spelt out for older ones.
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    rolldownOptions: {
      input: {
        main: `${import.meta.dirname}/page/index.html`,
        docs: `${import.meta.dirname}/page/docs.html`,
      },
      output: {
        entryFileNames: 'assets/[name].js',
        chunkFileNames: 'assets/[name].js',
        assetFileNames: 'assets/[name][extname]',
      },
    },
  },
});
