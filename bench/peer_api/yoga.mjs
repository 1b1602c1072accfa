// A peer: the series of one merchant by GraphQL Yoga. PEER_CACHE=1 puts its response cache in front. Settings as strawberry_app.py.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createSchema, createYoga } from 'graphql-yoga';
import { useResponseCache } from '@graphql-yoga/plugin-response-cache';
import cassandra from 'cassandra-driver';
import { importJWK, jwtVerify, decodeProtectedHeader } from 'jose';

const env = process.env;
const jwks = JSON.parse(readFileSync(env.PEER_JWKS, 'utf8')).keys;
const keys = new Map(await Promise.all(jwks.map(async (key) => [key.kid, await importJWK(key, 'ES256')])));
const known = new Map();

async function merchants(header) {
  let found = known.get(header);
  if (!found) {
    const token = header.slice('Bearer '.length);
    const { payload } = await jwtVerify(token, keys.get(decodeProtectedHeader(token).kid), { audience: 'millrace' });
    found = payload.merchants;
    known.set(header, found);
  }
  return found;
}

const client = new cassandra.Client({
  contactPoints: env.MILLRACE_CASSANDRA_HOSTS.split(',').map((host) => `${host}:${env.MILLRACE_CASSANDRA_PORT}`),
  localDataCenter: 'datacenter1',
  keyspace: env.MILLRACE_NAMES_KEYSPACE,
});
await client.connect();
const SELECT =
  "SELECT window_start, payments, gross, refunds, refunded_amount, failed, smallest, largest FROM reports " +
  "WHERE merchant_id = ? AND grain = '10m' AND bucket = ? AND window_start >= ? AND window_start < ?";
const run = async (text, values) => (await client.execute(text, values, { prepare: true, fetchSize: 5000 })).rows;
const iso = (date) => date.toISOString().replace('.000Z', 'Z');

const schema = createSchema({
  typeDefs: /* GraphQL */ `
    scalar DateTime
    type Points { start: [String!]! payments: [Int!]! gross: [String!]! refunds: [Int!]! refundedAmount: [String!]! net: [String!]!
      failed: [Int!]! smallest: [String!]! largest: [String!]! }
    type Freshness { completeThrough: String }
    type Series { currency: String! points: Points! freshness: Freshness! }
    type Query { series(merchantId: ID!, start: DateTime!, end: DateTime!, currency: String!): Series! }
  `,
  resolvers: {
    Query: {
      async series(_, { merchantId, start, end, currency }, context) {
        if (!(await merchants(context.request.headers.get('authorization') ?? '')).includes(merchantId)) throw new Error('forbidden');
        const [progress] = await run("SELECT complete_through FROM progress WHERE name = 'payments'", []);
        const rows = await run(SELECT, [merchantId, start.slice(0, 7), new Date(start), new Date(end)]);
        return {
          currency,
          points: {
            start: rows.map((row) => iso(row.window_start)),
            payments: rows.map((row) => row.payments.toNumber()),
            gross: rows.map((row) => row.gross.toString()),
            refunds: rows.map((row) => row.refunds.toNumber()),
            refundedAmount: rows.map((row) => row.refunded_amount.toString()),
            net: rows.map((row) => row.gross.subtract(row.refunded_amount).toString()),
            failed: rows.map((row) => row.failed.toNumber()),
            smallest: rows.map((row) => row.smallest.toString()),
            largest: rows.map((row) => row.largest.toString()),
          },
          freshness: { completeThrough: progress ? iso(progress.complete_through) : null },
        };
      },
    },
  },
});

const plugins = env.PEER_CACHE === '1' ? [useResponseCache({ session: (request) => request.headers.get('authorization'), ttl: 600_000 })] : [];
const yoga = createYoga({ schema, plugins, logging: false });
createServer(yoga).listen(Number(env.PEER_PORT), '127.0.0.1');
