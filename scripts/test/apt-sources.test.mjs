import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { distributionSources, formatSources } from '../lib/apt-sources.mjs';

const BOOKWORM = { id: 'debian', codename: 'bookworm', backports: true };

/** The sources that a system with these files under /etc/apt gives. */
function sourcesOf(files, system = BOOKWORM) {
  const folder = mkdtempSync(join(tmpdir(), 's3t-apt-'));
  try {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, name)), { recursive: true });
      writeFileSync(join(folder, name), text);
    }
    return distributionSources(system, folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('backports come from the configured mirror, with its options', () => {
  const sources = sourcesOf({
    'sources.list':
      'deb [arch=amd64,arm64 signed-by=/keys/a.gpg] https://m.example/debian bookworm main contrib # x\n' +
      'deb-src https://m.example/debian bookworm main\n# deb https://old.example/debian bookworm main\n',
  });
  const base = { types: 'deb', uris: 'https://m.example/debian', architectures: 'amd64 arm64' };
  assert.deepEqual(sources, [
    { ...base, suites: 'bookworm', components: 'main contrib', 'signed-by': '/keys/a.gpg' },
    { ...base, suites: 'bookworm-backports', components: 'main', 'signed-by': '/keys/a.gpg' },
  ]);
});

test('deb822: several suites, comments, an inline key, third parties left out', () => {
  const key = '\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n -----END PGP PUBLIC KEY BLOCK-----';
  const sources = sourcesOf({
    'sources.list.d/debian.sources':
      'Types: deb deb-src\n# a comment\nURIs: http://m.example/debian\nSuites: bookworm bookworm-updates\n' +
      `Components: main\nSigned-By:${key}\n\n` +
      'Enabled: no\nTypes: deb\nURIs: http://n.example\nSuites: bookworm\nComponents: main\n',
    'sources.list.d/vendor.list': 'deb https://vendor.example/apt cloud main\n',
    'sources.list.d/off.list.disabled': 'deb http://off.example/debian bookworm main\n',
  });
  assert.deepEqual(
    sources.map(({ suites }) => suites),
    ['bookworm bookworm-updates', 'bookworm-backports'],
  );
  assert.ok(formatSources(sources).includes(`signed-by:${key}\n`));
});

test('configured backports are not added twice; a release without need for them gets none', () => {
  const both = {
    'sources.list': 'deb http://m/debian bookworm main\ndeb http://m/debian bookworm-backports main\n',
  };
  assert.equal(sourcesOf(both).length, 2);
  const ubuntu = { id: 'ubuntu', codename: 'noble', backports: false };
  const files = {
    'sources.list': 'deb http://m/ubuntu noble main universe\ndeb http://m/ubuntu noble-security main\n',
  };
  assert.equal(sourcesOf(files, ubuntu).length, 2);
});

test("Debian's public mirror only where its own release is not configured", () => {
  const cdrom = { 'sources.list': 'deb cdrom:[Debian GNU/Linux 12 _Bookworm_]/ bookworm main\n' };
  for (const files of [{}, cdrom]) {
    const [main, backports] = sourcesOf(files);
    assert.equal(main.uris, 'http://deb.debian.org/debian');
    assert.equal(backports.suites, 'bookworm-backports');
  }
  assert.deepEqual(sourcesOf({}, { id: 'ubuntu', codename: 'noble', backports: false }), []);
});
