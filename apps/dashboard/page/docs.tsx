// /docs: the server's own OpenAPI document, readable.
import { render } from 'preact';
import './style/base.css';
import './style/docs.css';
import { outline } from './model/schema.ts';
import { ThemeButton } from './view/top-bar.tsx';

interface Body {
  description?: string;
  content?: Record<string, { schema?: unknown }>;
}
interface Operation {
  operationId: string;
  summary?: string;
  description?: string;
  requestBody?: Body;
  responses: Record<string, Body>;
  parameters?: { in: string; name: string; description?: string }[];
}
interface Api {
  info: { title: string };
  paths: Record<string, Record<string, Operation>>;
}

function Docs({ api }: { api: Api }) {
  const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );
  return (
    <>
      <header class="top">
        <img src="/assets/icon.svg" alt="" width="30" height="30" />
        <h1>{api.info.title} API</h1>
        <nav aria-label="Page">
          <a href="/">Dashboard</a>
          <a href="/openapi.json">openapi.json</a>
          <ThemeButton />
        </nav>
      </header>
      <main class="docs">
        <nav aria-label="Operations">
          {operations.map(({ path, method, operation }) => (
            <a key={operation.operationId} href={`#${operation.operationId}`}>
              {method.toUpperCase()} {path}
            </a>
          ))}
        </nav>
        <div class="operations">
          {operations.map((one) => (
            <OperationCard key={one.operation.operationId} {...one} />
          ))}
        </div>
      </main>
    </>
  );
}

function OperationCard({ path, method, operation }: { path: string; method: string; operation: Operation }) {
  const { operationId, summary, description, parameters, requestBody, responses } = operation;
  return (
    <section class="panel" id={operationId}>
      <h2>
        <span class="method" data-method={method}>
          {method.toUpperCase()}
        </span>
        <code>{path}</code>
      </h2>
      <p>{[summary, description].filter(Boolean).join('. ')}</p>
      {parameters !== undefined && <h3>Parameters</h3>}
      {parameters?.map(({ name, description: about }) => (
        <p key={name}>
          <code>{name}</code> {about}
        </p>
      ))}
      {requestBody !== undefined && (
        <>
          <h3>Body</h3>
          <Shape body={requestBody} />
        </>
      )}
      <h3>Answers</h3>
      {Object.entries(responses).map(([status, body]) => (
        <details key={status}>
          <summary>
            <strong>{status}</strong> {body.description}
          </summary>
          <Shape body={body} />
        </details>
      ))}
    </section>
  );
}

function Shape({ body }: { body: Body }) {
  const [type, media] = Object.entries(body.content ?? {})[0] ?? ['', {}];
  // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard
  return <pre tabIndex={0}>{media.schema === undefined ? type : outline(media.schema)}</pre>;
}

async function description(): Promise<Api> {
  const response = await fetch('/openapi.json');
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  return response.json();
}

const root = document.getElementById('root')!;
try {
  render(<Docs api={await description()} />, root);
} catch (error) {
  const why = error instanceof Error ? error.message : String(error);
  render(<p class="plain">The API's description cannot be read: {why}. Load the page again.</p>, root);
}
// The section named in the address was not there when the page loaded.
if (location.hash !== '') document.getElementById(location.hash.slice(1))?.scrollIntoView();
