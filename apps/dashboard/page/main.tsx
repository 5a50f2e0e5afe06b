import { render } from 'preact';
import './style/base.css';
import './style/panels.css';
import './style/map.css';
import { store } from './model/store.ts';
import { App } from './view/app.tsx';

render(<App />, document.getElementById('root')!);
store.connect();
