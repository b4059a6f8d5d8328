/** A line of a tree: what stands before the name, the name, and which leaf it is (undefined: a folder). */
export interface TreeLine {
  readonly branch: string;
  readonly name: string;
  readonly leaf: number | undefined;
}

interface Node {
  readonly name: string;
  readonly leaf: number | undefined;
  readonly inner: Map<string, Node>;
}

/** Paths of `/`-separated names as a tree, in their order. A folder that holds one folder only is joined to it. */
export function treeLines(paths: readonly string[]): readonly TreeLine[] {
  const root: Node = { name: '', leaf: undefined, inner: new Map() };
  paths.forEach((path, leaf) => {
    const parts = path.split('/');
    let node = root;
    parts.forEach((name, i) => {
      const isLeaf = i === parts.length - 1;
      const found = isLeaf ? undefined : node.inner.get(name);
      const next = found ?? {
        name,
        leaf: isLeaf ? leaf : undefined,
        inner: new Map<string, Node>(),
      };
      // A folder and a file may have one name only on storages that know no folders.
      node.inner.set(isLeaf ? `${name}\0${leaf}` : name, next);
      node = next;
    });
  });
  const lines: TreeLine[] = [];
  const walk = (node: Node, indent: string): void => {
    const inner = [...node.inner.values()];
    inner.forEach((child, i) => {
      const isLast = i === inner.length - 1;
      const { node: end, name } = joined(child);
      lines.push({ branch: `${indent}${isLast ? '└─ ' : '├─ '}`, name, leaf: end.leaf });
      walk(end, `${indent}${isLast ? '   ' : '│  '}`);
    });
  };
  walk(root, '');
  return lines;
}

function joined(start: Node): { readonly node: Node; readonly name: string } {
  let node = start;
  let name = start.name;
  for (;;) {
    const [only, second] = [...node.inner.values()];
    if (only === undefined || second !== undefined || only.leaf !== undefined)
      return { node, name };
    node = only;
    name += `/${only.name}`;
  }
}
