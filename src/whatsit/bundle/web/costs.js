// The answer where mistakes have prices: the class of the least expected cost (Elkan 2001). The same as whatsit's `bundle/costs.py`.

const TIE = 1e-9; // relative difference of expected costs that counts as none

/** Return the expected cost of each answer; `costs[truth][answer]` are the prices. */
export function expectedCosts(costs, probabilities) {
  return costs[0].map((_, answer) => costs.reduce((sum, row, truth) => sum + row[answer] * probabilities[truth], 0));
}

/** Return the number of the class to answer: without costs the most probable one. */
export function answerOf(costs, probabilities) {
  const highest = (numbers) => numbers.reduce((best, number) => (probabilities[number] > probabilities[best] ? number : best));
  const every = [...probabilities.keys()];
  if (!costs) return highest(every);
  const expected = expectedCosts(costs, probabilities);
  const least = Math.min(...expected);
  return highest(every.filter((number) => expected[number] <= least + TIE * Math.abs(least) + 1e-12));
}
