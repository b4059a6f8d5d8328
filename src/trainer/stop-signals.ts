import { refuseOption } from '../option-check.ts';

/** What asks a process to end: Ctrl-C, a service manager or scheduler, and Slurm's warning before a time limit. */
const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGUSR1'] as const;
type StopSignal = (typeof STOP_SIGNALS)[number];

/** What a shell says of a process that such a signal has ended. A warning is no failure. */
const EXIT_CODES: Readonly<Record<StopSignal, number>> = { SIGINT: 130, SIGTERM: 143, SIGUSR1: 0 };

/**
 * Lets signals to this process stop training so that it can be resumed: give the result to `fit` as `signal`.
 * At the first one training ends the present step, saves, and `fit` rejects with an `AbortError`; a second one has
 * its usual effect. Under a launcher it is enough that one rank gets it.
 *
 * Sets `process.exitCode`, for when the script ends: 130 after SIGINT, 143 after SIGTERM, and nothing after
 * SIGUSR1, with which Slurm (`--signal=USR1@60`) asks a job to make room in good order. Node only. Start the script
 * with `node --import tsx`, not `tsx`: the latter kills a process that has not answered a signal within 60 ms.
 *
 * @param signals default: SIGINT, SIGTERM and SIGUSR1.
 * @throws MisconfigurationError for any other.
 */
export function stopOnSignals(signals: readonly StopSignal[] = STOP_SIGNALS): AbortSignal {
  for (const signal of signals) {
    if (!STOP_SIGNALS.includes(signal)) {
      refuseOption('stopOnSignals', 'signals', signals, `some of '${STOP_SIGNALS.join("', '")}'`);
    }
  }
  const controller = new AbortController();
  const stop = (signal: StopSignal): void => {
    for (const [each, listener] of listeners) process.off(each, listener);
    process.exitCode = EXIT_CODES[signal] || process.exitCode;
    controller.abort(new DOMException(`${signal} was received.`, 'AbortError'));
  };
  const listeners = signals.map((signal) => [signal, () => stop(signal)] as const);
  for (const [signal, listener] of listeners) process.on(signal, listener);
  return controller.signal;
}
