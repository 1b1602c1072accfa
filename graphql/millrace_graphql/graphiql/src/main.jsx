// GraphiQL with the caller's access token and example queries; everything it loads comes from this server.
import './workers.js';
import { createElement as h, useMemo, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { GraphiQL } from 'graphiql';
import 'graphiql/style.css';
import './style.css';
import { examples } from './examples.js';

const TOKEN = 'millrace:token';

// One answer as JSON; what it cost and where it came from stand in its headers.
async function send(parameters, headers, show) {
  const began = performance.now();
  const response = await fetch('/graphql', {
    method: 'POST',
    headers: { ...headers, Accept: 'application/graphql-response+json, application/json' },
    body: JSON.stringify(parameters),
  });
  const answer = await response.json();
  show({
    cost: response.headers.get('X-Millrace-Cost'),
    cache: response.headers.get('X-Millrace-Cache'),
    left: response.headers.get('RateLimit')?.match(/r=(\d+)/)?.[1],
    milliseconds: Math.round(performance.now() - began),
    freshness: freshnessOf(answer.data),
  });
  return answer;
}

// A subscription as server-sent events: each payload as it comes.
async function* subscribe(parameters, headers, show) {
  const stop = new AbortController();
  try {
    const response = await fetch('/graphql', {
      method: 'POST',
      headers: { ...headers, Accept: 'text/event-stream' },
      body: JSON.stringify(parameters),
      signal: stop.signal,
    });
    if (!response.headers.get('Content-Type')?.startsWith('text/event-stream')) {
      yield await response.json();
      return;
    }
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let waiting = '';
    let events = 0;
    show({ events });
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      waiting += value;
      const parts = waiting.split('\n\n');
      waiting = parts.pop();
      for (const part of parts) {
        const data = part.match(/^data: (.+)$/m)?.[1];
        if (/^event: complete$/m.test(part)) return;
        if (!data) continue;
        const payload = JSON.parse(data);
        show({ events: ++events, freshness: freshnessOf(payload.data) });
        yield payload;
      }
    }
  } finally {
    stop.abort();
  }
}

// The first freshness in an answer, wherever it stands.
function freshnessOf(value) {
  if (value === null || typeof value !== 'object') return undefined;
  if (value.freshness) return value.freshness;
  for (const part of Object.values(value)) {
    const found = freshnessOf(part);
    if (found) return found;
  }
  return undefined;
}

function isSubscription(parameters, document) {
  const operations = (document?.definitions ?? []).filter((definition) => definition.kind === 'OperationDefinition');
  const chosen = operations.length > 1 ? operations.find((each) => each.name?.value === parameters.operationName) : operations[0];
  return chosen?.operation === 'subscription';
}

function Status({ told }) {
  const parts = [];
  if (told.events !== undefined) parts.push(`subscribed: ${told.events} events`);
  if (told.cost) parts.push(`cost ${told.cost} points${told.left ? `, ${told.left} left` : ''}`);
  if (told.cache) parts.push(`cache ${told.cache}`);
  if (told.milliseconds !== undefined) parts.push(`${told.milliseconds} ms`);
  const through = told.freshness?.completeThrough;
  if (through) parts.push(`complete through ${through}`);
  if (told.freshness?.asOf) parts.push(`as of ${told.freshness.asOf}`);
  if (told.freshness?.missing?.length) parts.push(`${told.freshness.missing.length} windows still open`);
  return h('output', { className: 'millrace-status', 'aria-live': 'polite' }, parts.join(' · ') || 'Run a query: its cost, cache and freshness show here.');
}

// The token is kept for this tab only. A pasted "Bearer ..." or surrounding space is forgiven.
function clean(text) {
  return text.trim().replace(/^Bearer\s+/i, '');
}

// The examples ask about the first merchant that the token opens; the server alone decides whether it does.
function firstMerchant(token) {
  try {
    const claims = JSON.parse(atob(token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/')));
    return claims.merchants?.[0];
  } catch {
    return undefined;
  }
}

function App() {
  const [token, setToken] = useState(() => sessionStorage.getItem(TOKEN) ?? '');
  const [told, setTold] = useState({});
  const fetcher = useMemo(
    () => (parameters, options) => {
      const current = clean(sessionStorage.getItem(TOKEN) ?? '');
      const headers = { 'Content-Type': 'application/json', ...(current ? { Authorization: `Bearer ${current}` } : {}) };
      if (isSubscription(parameters, options?.documentAST)) return subscribe(parameters, headers, setTold);
      // GraphiQL's own introspection is no answer that a person waits for.
      return send(parameters, headers, parameters.operationName === 'IntrospectionQuery' ? () => {} : setTold);
    },
    [],
  );
  const tabs = useMemo(() => examples(new Date(), firstMerchant(sessionStorage.getItem(TOKEN) ?? '')).map(({ query, variables }) => ({ query, variables: JSON.stringify(variables, null, 2) })), []);

  const keep = (event) => {
    setToken(event.target.value);
    const before = firstMerchant(sessionStorage.getItem(TOKEN) ?? '');
    sessionStorage.setItem(TOKEN, clean(event.target.value));
    const merchant = firstMerchant(clean(event.target.value));
    if (merchant && merchant !== before) {
      // Another merchant: the tabs begin anew with its examples.
      localStorage.removeItem('graphiql:tabState');
      location.reload();
    }
  };
  const bar = h(
    'label',
    { className: 'millrace-token' },
    'Access token ',
    h('input', { type: 'password', value: token, onChange: keep, placeholder: 'paste what `millrace token --merchant ID` prints', autoComplete: 'off', spellCheck: false }),
  );
  const editor = h(GraphiQL, { fetcher, defaultTabs: tabs, defaultEditorToolsVisibility: 'variables', shouldPersistHeaders: false, isHeadersEditorEnabled: false });
  return h('div', { className: 'millrace' }, bar, editor, h(Status, { told }));
}

createRoot(document.getElementById('graphiql')).render(h(App));
