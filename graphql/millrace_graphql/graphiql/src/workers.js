// Monaco's workers, from our own files: the content security policy allows no blob and no other origin.
const WORKERS = { json: 'json.worker.js', graphql: 'graphql.worker.js' };

globalThis.MonacoEnvironment = {
  getWorker: (_id, label) => new Worker(`/graphiql/static/${WORKERS[label] ?? 'editor.worker.js'}`),
};
