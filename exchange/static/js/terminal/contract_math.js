/* A position's margin at a mark that moves, by the formulas of risk/contract_margin.py. For showing only: the exchange
   decides by its own numbers. Amounts are major units of the quote asset. */
import Big from "../../vendor/big/big.mjs";

const [DOWN, UP] = [0, 3];
const ZERO = new Big(0);

const sizeOf = ({ quantity }, market) => new Big(quantity).abs().times(market.contractSize);

/** What its lots have cost, negative when short: exact, since the exchange's result at its own mark is. */
export function costOf(position, market) {
  const worth = new Big(market.price(position.mark_price)).times(position.quantity).times(market.contractSize);
  return worth.minus(position.unrealized_pnl);
}

/** A position's result at a price, in major units. */
export const resultAt = (price, { quantity, cost }, market) => new Big(price).times(quantity).times(market.contractSize).minus(cost);

/** The margin below which a position is liquidated while it is worth so much; null where a market names no brackets. */
export function maintenance(value, brackets) {
  const bracket = brackets.findLast((one) => new Big(one.notional_floor).lte(value));
  if (!bracket) return null;
  const margin = new Big(value).times(bracket.maintenance_rate).minus(bracket.maintenance_amount);
  return margin.gt(0) ? margin : ZERO;
}

/** Maintenance margin by margin and result at a mark; null where there is nothing left to compare with. */
export function marginRatio(position, mark, market) {
  const needed = maintenance(new Big(mark).times(sizeOf(position, market)), market.brackets);
  const left = new Big(position.margin).plus(resultAt(mark, position, market));
  return needed === null || left.lte(0) ? null : needed.div(left);
}

/** Where a position would be liquidated if its margin were another; null where it never would. */
export function liquidationPrice(position, margin, market) {
  const size = sizeOf(position, market);
  const isShort = new Big(position.quantity).lt(0);
  const found = market.brackets.map((bracket, index) => {
    const [rate, amount] = [new Big(bracket.maintenance_rate), new Big(bracket.maintenance_amount)];
    const price = isShort
      ? new Big(margin).minus(position.cost).plus(amount).div(size.times(rate.plus(1)))
      : new Big(position.cost).minus(margin).minus(amount).div(size.times(new Big(1).minus(rate)));
    const [value, ends] = [price.times(size), market.brackets[index + 1]?.notional_floor];
    return value.gte(bracket.notional_floor) && (ends === undefined || value.lte(ends)) ? price : null;
  }).filter((price) => price !== null && price.gt(0));
  if (!found.length) return null;
  const nearest = found.reduce((best, price) => (price.lt(best) === isShort ? price : best));
  const ticks = nearest.div(market.tickSize).round(0, isShort ? UP : DOWN);
  return ticks.gt(0) ? ticks.times(market.tickSize).toFixed(market.priceDecimals) : null;
}

/** What may be taken out of a margin at a mark: what is beyond initial margin and loss. */
export function spareMargin(position, mark, market) {
  const initial = new Big(mark).times(sizeOf(position, market)).div(position.leverage);
  const result = resultAt(mark, position, market);
  const spare = new Big(position.margin).minus(initial).plus(result.lt(0) ? result : ZERO);
  return spare.gt(0) ? spare.round(market.quoteDecimals, DOWN) : ZERO;
}
