import { ArrayModule, type LossAndGradients } from '../support/array-module.ts';
import { type Script, type TraceNumber, toNumber } from './trace.ts';

/** What {@link ScriptedModule} throws where its script says so. */
export class ScriptedError extends Error {
  override readonly name: string = 'ScriptedError';
}

/** Logged during the sanity check, in place of a scripted value. */
const SANITY_VALUE = -123.5;

/**
 * The recorded model: one weight, starting at 0, loss = weight, so each full optimizer step takes 0.125 off.
 * Logs what a phase's script says, when it says so.
 */
export class ScriptedModule extends ArrayModule<number> {
  readonly #script: Script;
  #isTraining = false;
  #trainCalls = 0;
  #valCalls = 0;
  #validations = 0;
  #epochEnds = 0;

  constructor(script: Script) {
    super({ weight: [0] });
    this.#script = script;
  }

  override trainingStep(): LossAndGradients {
    const call = this.#trainCalls++;
    if (call === this.#script.raise_at_train_call) throw new ScriptedError('scripted crash');
    for (const { name, on_step, on_epoch, values } of this.#script.train_log) {
      const value = scripted(values, call);
      if (value !== undefined) this.log(name, value, { onStep: on_step, onEpoch: on_epoch });
    }
    return { loss: this.weight('weight')[0]!, gradients: { weight: [1] } };
  }

  override validationStep(): void {
    if (this.#valCalls++ === this.#script.raise_at_val_call) {
      throw new ScriptedError('scripted crash in validation');
    }
    this.#logValidation('validation_step');
  }

  override onValidationEpochEnd(): void {
    this.#logValidation('on_validation_epoch_end');
  }

  #logValidation(from: 'validation_step' | 'on_validation_epoch_end'): void {
    for (const { name, where, values } of this.#script.val_log) {
      if (where !== from) continue;
      const value = this.#isTraining ? scripted(values, this.#validations) : SANITY_VALUE;
      if (value !== undefined) this.log(name, value);
    }
  }

  override onTrainStart(): void {
    this.#isTraining = true;
  }

  override onValidationEnd(): void {
    if (this.#isTraining) this.#validations += 1;
  }

  override onTrainEpochEnd(): void {
    const call = this.#epochEnds++;
    for (const { name, values } of this.#script.epoch_log) {
      const value = scripted(values, call);
      if (value !== undefined) this.log(name, value);
    }
  }
}

/** The value of a call, as the float32 that Lightning made of it. */
function scripted(values: readonly (TraceNumber | null)[], call: number): number | undefined {
  const value = values[call % values.length] ?? null;
  return value === null ? undefined : Math.fround(toNumber(value));
}
