/** Texts by their beginnings. One map holds all edges: a vocabulary has hundreds of thousands, and a map for each node takes ten times the memory. */
export class Trie {
  readonly #edges = new Map<number, number>();
  readonly #values: number[] = [-1];

  /** Where every search begins. */
  static readonly root = 0;

  /** Keeps the value that a text already has, unless `replaces`. */
  add(text: string, value: number, replaces = false): void {
    let node = Trie.root;
    for (let i = 0; i < text.length; i++) {
      const edge = node * 0x10000 + text.charCodeAt(i);
      let next = this.#edges.get(edge);
      if (next === undefined) {
        next = this.#values.push(-1) - 1;
        this.#edges.set(edge, next);
      }
      node = next;
    }
    if (replaces || this.#values[node] === -1) this.#values[node] = value;
  }

  /** The node after one more UTF-16 unit; undefined where no text goes on so. */
  step(node: number, unit: number): number | undefined {
    return this.#edges.get(node * 0x10000 + unit);
  }

  /** The value of the text that ends at a node, or -1. */
  valueAt(node: number): number {
    return this.#values[node]!;
  }
}
