import type { MetricReading } from '../checkpoint/monitor.ts';
import type { JsonValue } from '../format/json.ts';
import type { Scalar } from './scalar.ts';

/** Where a metric is shown. */
export interface Shown {
  readonly progBar: boolean;
  readonly logger: boolean;
}

interface Visible extends Shown {
  readonly scalar: Scalar;
  /** The `globalStep` whose weights it was measured on. */
  readonly loggedFor: number;
}

/** The last value of every metric, as hooks, monitors, loggers and file names see it. Read only when it is needed. */
export class VisibleMetrics {
  readonly #metrics = new Map<string, Visible>();

  /** Takes the scalar over; the one it takes the place of is released. */
  show(name: string, scalar: Scalar, loggedFor: number, { progBar, logger }: Shown): void {
    this.#metrics.get(name)?.scalar.release();
    this.#metrics.set(name, { scalar, loggedFor, progBar, logger });
  }

  /** Visible metrics whose value can be had at once. */
  values(filter: (metric: Shown) => boolean = () => true): Record<string, number> {
    const values: Record<string, number> = {};
    for (const [name, metric] of this.#metrics) {
      const value = filter(metric) ? metric.scalar.valueNow() : undefined;
      if (value !== undefined) values[name] = value;
    }
    return values;
  }

  /** The last value of a metric, read if need be; undefined when it was never logged. */
  async value(name: string): Promise<number | undefined> {
    return await this.#metrics.get(name)?.scalar.value();
  }

  /** The values of some metrics that loggers want, read if need be. */
  async loggable(names: readonly string[]): Promise<Record<string, number>> {
    const values: Record<string, number> = {};
    for (const name of names) {
      const metric = this.#metrics.get(name);
      if (metric?.logger) values[name] = await metric.scalar.value();
    }
    return values;
  }

  /** Every visible metric with its value and whether it was measured on the weights of `globalStep`. */
  async readings(globalStep: number): Promise<ReadonlyMap<string, MetricReading>> {
    const readings = new Map<string, MetricReading>();
    for (const [name, { scalar, loggedFor }] of this.#metrics) {
      const isFresh = loggedFor === globalStep;
      readings.set(name, { value: await scalar.value(), isFresh, loggedFor });
    }
    return readings;
  }

  /** All of it as JSON, in the order in which it was first shown. */
  async stateDict(): Promise<JsonValue[]> {
    const state: JsonValue[] = [];
    for (const [name, { scalar, loggedFor, progBar, logger }] of this.#metrics) {
      state.push([name, await scalar.value(), loggedFor, progBar, logger]);
    }
    return state;
  }

  clear(): void {
    for (const { scalar } of this.#metrics.values()) scalar.release();
    this.#metrics.clear();
  }
}
