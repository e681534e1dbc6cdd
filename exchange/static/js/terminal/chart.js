/* Candles and volume. The numbers here are for drawing only and never return to an order. */
import { CandlestickSeries, createChart, HistogramSeries } from "../../vendor/lightweight-charts/lightweight-charts.standalone.production.mjs";
import { items, read } from "../api.js";
import { grouped } from "../numbers.js";
import { ChartLines } from "./chart_lines.js";
import { preference, remember } from "./preferences.js";

const SECONDS = { "1m": 60, "5m": 300, "15m": 900, "1h": 3600, "4h": 14400, "1d": 86400 };
const CANDLES = 500;
const BAR_PX = { least: 8, most: 14 };
const ROOM_RIGHT = 6;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const zoneShift = (seconds) => seconds - new Date(seconds * 1000).getTimezoneOffset() * 60;

/** The library may put a mark between two ticks: such a one shows a decimal more rather than a wrong price. */
function axisText(price, decimals) {
  const text = price.toFixed(decimals);
  return Math.abs(Number(text) - price) < 10 ** -(decimals + 4) ? text : price.toFixed(decimals + 1);
}

export class Chart {
  /** @param onInterval called with (new interval, the one before) so that the live channel can follow */
  constructor(instrument, onInterval) {
    Object.assign(this, { instrument, onInterval, candles: [], pointed: null });
    this.area = document.getElementById("chart");
    this.legend = document.getElementById("chart-legend");
    this.chart = createChart(this.area, {
      autoSize: true,
      layout: { attributionLogo: false }, // it would add a style of its own, which our content policy forbids: the page has a link
      localization: { locale: document.documentElement.lang },
      timeScale: { timeVisible: true, secondsVisible: false, rightOffset: ROOM_RIGHT, barSpacing: BAR_PX.least },
      rightPriceScale: { entireTextOnly: true },
      crosshair: { mode: 0 },
    });
    this.series = this.chart.addSeries(CandlestickSeries, {
      priceFormat: {
        type: "custom",
        minMove: Number(instrument.tickSize),
        formatter: (price) => price.toFixed(instrument.priceDecimals),
        tickmarksFormatter: (prices) => prices.map((price) => axisText(price, instrument.priceDecimals)),
      },
    });
    this.lines = new ChartLines({ series: this.series, instrument, said: document.getElementById("chart-lines") });
    this.volume = this.chart.addSeries(HistogramSeries, {
      priceScaleId: "volume", priceFormat: { type: "volume" }, lastValueVisible: false, priceLineVisible: false,
    });
    this.chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
    this.series.priceScale().applyOptions({ scaleMargins: { top: 0.08, bottom: 0.22 } });
    this.chart.subscribeCrosshairMove(({ time }) => {
      this.pointed = time ?? null;
      this.#showLegend(this.pointed);
    });
    this.#dress();
    document.addEventListener("themechange", () => this.#dress());
    const chosen = new URLSearchParams(location.search).get("tf") ?? preference("interval", "1m");
    this.interval = SECONDS[chosen] ? chosen : "1m";
    const buttons = document.getElementById("intervals");
    buttons.addEventListener("click", ({ target }) => target.dataset.interval && this.choose(target.dataset.interval));
    this.#press();
  }

  choose(interval) {
    this.onInterval(interval, this.interval);
    this.interval = interval;
    remember("interval", interval);
    const address = new URL(location.href);
    address.searchParams.set("tf", interval);
    history.replaceState(null, "", address);
    this.#press();
    return this.load();
  }

  /** The next shorter (-1) or longer (1) candle length. */
  shift(by) {
    const names = Object.keys(SECONDS);
    const next = names[names.indexOf(this.interval) + by];
    if (next) this.choose(next);
  }

  #press() {
    for (const button of document.querySelectorAll("#intervals button")) {
      button.setAttribute("aria-pressed", String(button.dataset.interval === this.interval));
    }
  }

  /** Read the candles anew: at the start, on another interval, after a lost connection. */
  async load() {
    const asked = this.interval;
    const path = `/klines/${encodeURIComponent(this.instrument.symbol)}?interval=${asked}&limit=${CANDLES}`;
    const rows = items(await read(path));
    if (asked !== this.interval) return;
    this.candles = rows.map((row) => this.#candle(row)).sort((a, b) => a.time - b.time);
    this.series.setData(this.candles);
    this.volume.setData(this.candles.map((candle) => this.#bar(candle)));
    const room = this.area.clientWidth / (this.candles.length + 2 * ROOM_RIGHT);
    this.chart.timeScale().applyOptions({ barSpacing: Math.max(BAR_PX.least, Math.min(BAR_PX.most, room)) });
    this.chart.timeScale().scrollToRealTime();
    this.#showLegend(null);
  }

  #candle(row) {
    const opened = typeof row.timestamp === "number" ? row.timestamp : Date.parse(row.timestamp);
    const drawn = (value) => this.instrument.drawn(value);
    return {
      time: zoneShift(Math.floor(opened / 1000)),
      open: drawn(row.open), high: drawn(row.high), low: drawn(row.low), close: drawn(row.close),
      value: Number(row.volume),
    };
  }

  #bar({ time, value, open, close }) {
    return { time, value, color: colour(close >= open ? "--up-tint" : "--down-tint") };
  }

  /** Show the live candle; a late message cannot go back in time. */
  update(row) {
    if (row.interval !== this.interval) return;
    const candle = this.#candle(row);
    const last = this.candles.at(-1);
    if (last && candle.time < last.time) return;
    if (last?.time === candle.time) this.candles[this.candles.length - 1] = candle;
    else this.candles.push(candle);
    this.series.update(candle);
    this.volume.update(this.#bar(candle));
    if (!this.pointed) this.#showLegend(null);
  }

  #showLegend(time) {
    const candle = time ? this.candles.find((one) => one.time === time) : this.candles.at(-1);
    if (!candle) {
      this.legend.replaceChildren();
      return;
    }
    const fixed = (value) => grouped(value.toFixed(this.instrument.priceDecimals));
    const parts = [
      [pgettext("open price", "O"), fixed(candle.open)], [pgettext("high price", "H"), fixed(candle.high)],
      [pgettext("low price", "L"), fixed(candle.low)], [pgettext("close price", "C"), fixed(candle.close)],
    ];
    this.legend.replaceChildren(...parts.map(([name, text]) => {
      const part = document.createElement("span");
      const figure = document.createElement("b");
      figure.textContent = text;
      figure.className = candle.close >= candle.open ? "up" : "down";
      part.append(`${name} `, figure);
      return part;
    }));
  }

  #dress() {
    this.chart.applyOptions({
      layout: {
        background: { color: colour("--surface") }, textColor: colour("--text-muted"),
        fontFamily: colour("--font"), fontSize: 11,
      },
      crosshair: {
        vertLine: { color: colour("--text-muted"), labelBackgroundColor: colour("--accent-fill") },
        horzLine: { color: colour("--text-muted"), labelBackgroundColor: colour("--accent-fill") },
      },
      grid: { vertLines: { color: colour("--surface-raised") }, horzLines: { color: colour("--surface-raised") } },
      rightPriceScale: { borderColor: colour("--border") },
      timeScale: { borderColor: colour("--border") },
    });
    const [up, down] = [colour("--up"), colour("--down")];
    this.series.applyOptions({
      upColor: up, wickUpColor: up, borderUpColor: up, downColor: down, wickDownColor: down, borderDownColor: down,
    });
    this.volume.setData(this.candles.map((candle) => this.#bar(candle)));
    this.lines.paint();
  }
}
