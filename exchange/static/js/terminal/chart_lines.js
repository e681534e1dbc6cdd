/* The lines in the chart: a position's entry and liquidation, its take profit and stop loss, and the open orders. */
import { LineStyle } from "../../vendor/lightweight-charts/lightweight-charts.standalone.production.mjs";
import { grouped } from "../numbers.js";
import { exitKind, exitWord } from "./exits.js";
import { setText } from "./frame.js";
import { typeWord } from "./order_words.js";

const EXIT_TONE = { profit: "--good", loss: "--bad" };
const ROOM = 1; // so many times the height of the candles is given, above and below, to show a line

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const priceOf = (order) => (order.status === "untriggered" ? order.stop_price : order.price);

export class ChartLines {
  /** @param said element that says the lines to those who do not see them */
  constructor({ series, instrument, said }) {
    Object.assign(this, { series, instrument, said, drawn: new Map(), orders: [], position: null });
    series.applyOptions({ autoscaleInfoProvider: (original) => this.#scaled(original()) });
  }

  /** For each open order a line: at its price, or while it waits at its stop price. */
  markOrders(orders) {
    this.orders = orders;
    this.paint();
  }

  /** Where a position was entered and where it would be liquidated; null when there is none. */
  markPosition(position) {
    this.position = position;
    this.paint();
  }

  paint() {
    const wanted = new Map([...this.#ofPosition(), ...this.orders.filter((order) => priceOf(order) !== null).map((order) => this.#ofOrder(order))]);
    for (const [id, { line }] of this.drawn) {
      if (wanted.has(id)) continue;
      this.series.removePriceLine(line);
      this.drawn.delete(id);
    }
    for (const [id, { wire, tone, ...look }] of wanted) {
      const options = { ...look, price: this.instrument.drawn(wire), color: colour(tone) };
      const known = this.drawn.get(id);
      if (known) known.line.applyOptions(options);
      this.drawn.set(id, { line: known?.line ?? this.series.createPriceLine(options), price: options.price });
    }
    const texts = [...wanted.values()].map(({ title, wire }) => `${title} ${grouped(this.instrument.price(wire))}`);
    setText(this.said, texts.length ? interpolate(gettext("Lines in the chart: %s"), [texts.join(", ")]) : "");
  }

  #ofPosition() {
    const { entry_price: entry, liquidation_price: liquidation } = this.position ?? {};
    const levels = [["entry", entry, "--accent", gettext("Entry")], ["liquidation", liquidation, "--warning", gettext("Liquidation")]];
    return levels
      .filter(([, wire]) => wire !== null && wire !== undefined)
      .map(([id, wire, tone, title]) => [id, { wire, tone, title, lineStyle: LineStyle.Solid }]);
  }

  #ofOrder(order) {
    const wire = priceOf(order);
    const waits = order.status === "untriggered";
    const kind = exitKind(order);
    if (kind) return [order.id, { wire, tone: EXIT_TONE[kind], title: exitWord(kind), lineStyle: LineStyle.Dotted }];
    const words = order.side === "buy" ? gettext("Buy %s") : gettext("Sell %s");
    const size = interpolate(words, [order.close_position ? gettext("all") : this.instrument.quantity(order.quantity)]);
    const tone = order.side === "buy" ? "--up" : "--down";
    return [order.id, { wire, tone, title: waits ? `${typeWord(order.type)} · ${size}` : size, lineStyle: waits ? LineStyle.Dotted : LineStyle.Dashed }];
  }

  /** The candles come first: a line near them widens the scale, one far away does not press them flat. */
  #scaled(info) {
    if (!info?.priceRange) return info;
    const { minValue: low, maxValue: high } = info.priceRange;
    const room = (high - low) * ROOM;
    const near = [...this.drawn.values()].map(({ price }) => price).filter((price) => price >= low - room && price <= high + room);
    return { ...info, priceRange: { minValue: Math.min(low, ...near), maxValue: Math.max(high, ...near) } };
  }
}
