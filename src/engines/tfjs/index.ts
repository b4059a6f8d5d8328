export { TfjsModule } from './tfjs-module.ts';
