#!/usr/bin/env node
// Run the audits of the npm package graphql-http against a running API. Usage: scripts/graphql-http-audit.mjs URL [TOKEN]
// Prints one line an audit that does not pass and a summary; exits 1 where one fails or warns.
import { createRequire } from 'node:module';

const [url, token] = process.argv.slice(2);
if (!url) {
  console.error('scripts/graphql-http-audit.mjs: give the URL of the endpoint, such as http://127.0.0.1:8000/graphql');
  process.exit(2);
}
const require = createRequire(new URL('../graphql/millrace_graphql/graphiql/package.json', import.meta.url));
const { auditServer } = require('graphql-http');
const fetchFn = (resource, init = {}) =>
  fetch(resource, { ...init, headers: { ...init.headers, ...(token ? { authorization: `Bearer ${token}` } : {}) } });

const results = await auditServer({ url, fetchFn });
const other = results.filter((result) => result.status !== 'ok');
for (const result of other) {
  console.log(`${result.status} ${result.id} ${result.name}: ${result.reason}`);
}
console.log(`${results.length - other.length} of ${results.length} audits pass`);
process.exit(other.length ? 1 : 0);
