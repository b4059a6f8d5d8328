import type { Note } from '../../checkpoint/decide.ts';

/** What `verbose` prints of a decision. */
export function describeNote(note: Note): string {
  switch (note.kind) {
    case 'saved':
      return `checkpoint: saving '${note.path}' (${note.role}${note.score === undefined ? '' : `, score ${note.score}`})`;
    case 'rejected':
      return `checkpoint: score ${note.score} is not better than the worst kept (${note.worstKept})`;
    case 'removed':
      return `checkpoint: removing '${note.path}': ${note.reason}`;
    case 'waiting':
      return `checkpoint: waiting for '${note.monitor}'`;
  }
}
