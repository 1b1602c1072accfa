// GraphiQL with the caller's access token and example queries; everything it loads comes from this server.
import './workers.js';
import { createElement as h, useMemo, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { GraphiQL } from 'graphiql';
import 'graphiql/style.css';
import './style.css';
import { examples } from './examples.js';

const TOKEN = 'millrace:token';

async function send(parameters, token) {
  const headers = { 'Content-Type': 'application/json', Accept: 'application/graphql-response+json, application/json' };
  if (token) headers.Authorization = `Bearer ${token}`;
  const response = await fetch('/graphql', { method: 'POST', headers, body: JSON.stringify(parameters) });
  return response.json();
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
  const fetcher = useMemo(() => (parameters) => send(parameters, clean(sessionStorage.getItem(TOKEN) ?? '')), []);
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
  return h('div', { className: 'millrace' }, bar, editor);
}

createRoot(document.getElementById('graphiql')).render(h(App));
