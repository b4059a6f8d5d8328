/** What is known when a run ends because it was asked to. */
export interface InterruptionFacts {
  /** Whether a save that training can go on from came of it. */
  readonly isSaved: boolean;
  /** What went wrong while it was saved. */
  readonly failure: unknown;
  readonly globalStep: number;
  /** Whether this run saves at all. */
  readonly maySave: boolean;
  /** The callbacks that save. */
  readonly owners: readonly { readonly saveWeightsOnly: boolean }[];
}

/** What `fit` ends with when it was interrupted: it claims a saved state only where there is one. */
export function interruption(facts: InterruptionFacts): DOMException {
  const { isSaved, failure } = facts;
  const name = 'AbortError';
  if (failure !== undefined) {
    const why = failure instanceof Error ? failure.message : String(failure);
    const cause = failure;
    return new DOMException(
      `Training was interrupted; saving its state failed: ${why}`,
      // Node takes these options; the DOM's types know only the name.
      { name, cause } as unknown as string,
    );
  }
  const outcome = isSaved ? 'its state is saved.' : `nothing was saved: ${whyNothing(facts)}.`;
  return new DOMException(`Training was interrupted; ${outcome}`, name);
}

function whyNothing({ maySave, globalStep, owners }: InterruptionFacts): string {
  if (!maySave) return 'fastDevRun saves nothing';
  if (owners.length === 0) return 'there is no ModelCheckpoint';
  if (globalStep === 0) return 'no optimizer step was taken yet';
  if (owners.every(({ saveWeightsOnly }) => saveWeightsOnly)) {
    return 'every ModelCheckpoint has saveWeightsOnly, and training cannot go on from weights alone';
  }
  return 'no ModelCheckpoint could save; see the warnings';
}
