import type { Stage } from '../callbacks/callback.ts';
import { MisconfigurationError } from '../errors.ts';
import { refuseOption } from '../option-check.ts';
import type { TrainingModule } from './training-module.ts';

/**
 * Says of what cannot be run what is missing: what TypeScript's compiler tells, for who has none.
 *
 * @throws MisconfigurationError for what is no module (a class, nothing), and for one that cannot be trained.
 */
export function checkModule(stage: Stage, module: TrainingModule): void {
  if (typeof module?.attach !== 'function') {
    const allowed = 'an instance of a class that extends TfjsModule, JaxModule or TrainingModule';
    refuseOption(`Trainer.${stage}`, 'the module', module, allowed);
  }
  if (stage !== 'fit') return;
  for (const method of ['trainingStep', 'configureOptimizers'] as const) {
    if (typeof module[method] === 'function') continue;
    throw new MisconfigurationError(
      `Trainer.fit: ${module.constructor.name} has no ${method}() method. It needs trainingStep(), which returns the ` +
        `loss of a batch, and configureOptimizers(), which returns an optimizer.`,
      { details: { method } },
    );
  }
}
