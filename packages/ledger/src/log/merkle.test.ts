import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fromHex } from './bytes.ts';
import { EMPTY_ROOT, leafHash, MerkleTree, nodeHash, verifyConsistency, verifyInclusion } from './merkle.ts';

// The inputs and roots of the tests of Google's certificate-transparency, which RFC 6962's other implementations share.
const INPUTS = [
  ...['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'],
];
const ROOTS = [
  'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];
const leaves = INPUTS.map((hex) => leafHash(fromHex(hex, hex.length / 2)));

/** A tree over numbered leaves. */
function numbered(size: number): MerkleTree {
  const tree = new MerkleTree();
  for (let n = 0; n < size; n++) tree.append(leafHash(Uint8Array.of(n)));
  return tree;
}

/** MTH as RFC 9162, 2.1.1 writes it down. */
function plainRoot(hashes: readonly string[]): string {
  if (hashes.length === 0) return EMPTY_ROOT;
  if (hashes.length === 1) return hashes[0]!;
  let k = 1;
  while (2 * k < hashes.length) k *= 2;
  return nodeHash(plainRoot(hashes.slice(0, k)), plainRoot(hashes.slice(k)));
}

/** Every way to flip one bit of one hash of a list. */
function* flips(hashes: readonly string[]): Generator<string[]> {
  for (const [at, hash] of hashes.entries())
    for (let bit = 0; bit < 256; bit++) yield hashes.with(at, flipped(hash, bit));
}

function flipped(hash: string, bit: number): string {
  const digit = Math.floor(bit / 4);
  const value = Number.parseInt(hash[digit]!, 16) ^ (1 << (bit % 4));
  return hash.slice(0, digit) + value.toString(16) + hash.slice(digit + 1);
}

describe('the published vectors', () => {
  test('roots, and every root again once the tree has grown', () => {
    const tree = new MerkleTree();
    expect(tree.root()).toBe(ROOTS[0]);
    for (const [index, leaf] of leaves.entries()) {
      tree.append(leaf);
      expect(tree.root()).toBe(ROOTS[index + 1]);
    }
    expect(ROOTS.map((_, size) => tree.root(size))).toEqual(ROOTS);
  });

  test('audit paths and consistency proofs', () => {
    const tree = new MerkleTree();
    for (const leaf of leaves) tree.append(leaf);
    const left = tree.root(4);
    // d0, then its siblings on the way up (RFC 9162, 2.1.5, draws the tree of seven).
    expect(tree.inclusion(0, 7)).toEqual([
      leaves[1],
      nodeHash(leaves[2]!, leaves[3]!),
      nodeHash(nodeHash(leaves[4]!, leaves[5]!), leaves[6]!),
    ]);
    expect(tree.inclusion(6, 7)).toEqual([nodeHash(leaves[4]!, leaves[5]!), left]);
    const [c, d, g] = [leaves[2]!, leaves[3]!, nodeHash(leaves[0]!, leaves[1]!)];
    const l = nodeHash(nodeHash(leaves[4]!, leaves[5]!), leaves[6]!);
    expect(tree.consistency(3, 7)).toEqual([c, d, g, l]);
    expect(tree.consistency(4, 7)).toEqual([l]);
    expect(tree.consistency(6, 7)).toEqual([nodeHash(leaves[4]!, leaves[5]!), leaves[6], left]);
  });
});

describe('trees of up to 64 leaves', () => {
  const SIZE = 64;
  const tree = numbered(SIZE);

  test('have the roots that the definition gives', () => {
    const hashes = Array.from({ length: SIZE }, (_, n) => tree.leaf(n));
    for (let size = 0; size <= SIZE; size++) expect(tree.root(size)).toBe(plainRoot(hashes.slice(0, size)));
  });

  test('every inclusion proof verifies, and for no other leaf or place', () => {
    for (let size = 1; size <= SIZE; size++) {
      const root = tree.root(size);
      for (let index = 0; index < size; index++) {
        const path = tree.inclusion(index, size);
        const claim = { leaf: tree.leaf(index), index, size, root };
        expect(verifyInclusion(claim, path)).toBe(true);
        expect(verifyInclusion({ ...claim, leaf: tree.leaf((index + 1) % SIZE) }, path)).toBe(false);
        for (const other of [index - 1, index + 1])
          expect(verifyInclusion({ ...claim, index: other }, path)).toBe(false);
        expect(verifyInclusion(claim, [...path, root])).toBe(false);
        if (path.length > 0) expect(verifyInclusion(claim, path.slice(1))).toBe(false);
      }
    }
  });

  test('every consistency proof verifies, and for no other tree', () => {
    for (let to = 1; to <= SIZE; to++) {
      for (let from = 1; from <= to; from++) {
        const path = tree.consistency(from, to);
        const claim = { from, oldRoot: tree.root(from), to, newRoot: tree.root(to) };
        expect(verifyConsistency(claim, path)).toBe(true);
        expect(verifyConsistency({ ...claim, oldRoot: EMPTY_ROOT }, path)).toBe(false);
        expect(verifyConsistency({ ...claim, newRoot: EMPTY_ROOT }, path)).toBe(false);
        expect(verifyConsistency(claim, [...path, EMPTY_ROOT])).toBe(false);
        if (path.length > 0) expect(verifyConsistency(claim, path.slice(1))).toBe(false);
      }
    }
  });

  test('every single-bit change of a proof is rejected', () => {
    const places = fc
      .integer({ min: 2, max: SIZE })
      .chain((size) =>
        fc.tuple(fc.nat({ max: size - 1 }), fc.integer({ min: 1, max: size }), fc.constant(size)),
      );
    fc.assert(
      fc.property(places, fc.nat({ max: 255 }), ([index, from, size], bit) => {
        const root = tree.root(size);
        const claim = { leaf: tree.leaf(index), index, size, root };
        const path = tree.inclusion(index, size);
        for (const changed of path.map((hash, at) => path.with(at, flipped(hash, bit))))
          expect(verifyInclusion(claim, changed)).toBe(false);
        expect(verifyInclusion({ ...claim, leaf: flipped(claim.leaf, bit) }, path)).toBe(false);
        expect(verifyInclusion({ ...claim, root: flipped(root, bit) }, path)).toBe(false);
        const growth = { from, oldRoot: tree.root(from), to: size, newRoot: root };
        const proof = tree.consistency(from, size);
        for (const changed of proof.map((hash, at) => proof.with(at, flipped(hash, bit))))
          expect(verifyConsistency(growth, changed)).toBe(false);
        expect(verifyConsistency({ ...growth, oldRoot: flipped(growth.oldRoot, bit) }, proof)).toBe(false);
        expect(verifyConsistency({ ...growth, newRoot: flipped(root, bit) }, proof)).toBe(false);
      }),
      { numRuns: 400 },
    );
    // And all of them, of one proof of each kind.
    const [inclusion, proof] = [tree.inclusion(21, 43), tree.consistency(21, 43)];
    const claim = { leaf: tree.leaf(21), index: 21, size: 43, root: tree.root(43) };
    const growth = { from: 21, oldRoot: tree.root(21), to: 43, newRoot: tree.root(43) };
    for (const changed of flips(inclusion)) expect(verifyInclusion(claim, changed)).toBe(false);
    for (const changed of flips(proof)) expect(verifyConsistency(growth, changed)).toBe(false);
  });

  test('sizes and leaves that are not there are refused', () => {
    for (const size of [-1, 65, 1.5, Number.NaN]) expect(() => tree.root(size)).toThrow(RangeError);
    expect(() => tree.inclusion(5, 5)).toThrow(RangeError);
    expect(() => tree.inclusion(-1, 5)).toThrow(RangeError);
    expect(() => tree.consistency(0, 5)).toThrow(RangeError);
    expect(() => tree.consistency(6, 5)).toThrow(RangeError);
    const claim = { leaf: 'x', index: 0, size: 1, root: 'x' };
    expect(verifyInclusion(claim, [])).toBe(false);
    expect(verifyConsistency({ from: 1, oldRoot: 'x', to: 1, newRoot: 'x' }, [])).toBe(false);
  });
});
