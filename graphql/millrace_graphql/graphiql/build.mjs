// Bundles GraphiQL and Monaco's workers into static/; no file of it names another origin to load from.
import { build } from 'esbuild';

const common = { bundle: true, minify: true, format: 'esm', target: 'es2022', outdir: process.env.MILLRACE_STATIC ?? 'static', logLevel: 'error', legalComments: 'none' };

await build({
  ...common,
  entryPoints: { graphiql: 'src/main.jsx' },
  define: { 'process.env.NODE_ENV': '"production"' },
  loader: { '.ttf': 'file', '.woff2': 'dataurl', '.svg': 'dataurl' },
  assetNames: '[name]-[hash]',
});
await build({
  ...common,
  format: 'iife',
  entryPoints: {
    'editor.worker': 'monaco-editor/esm/vs/editor/editor.worker.js',
    'json.worker': 'monaco-editor/esm/vs/language/json/json.worker.js',
    'graphql.worker': 'monaco-graphql/esm/graphql.worker.js',
  },
});
