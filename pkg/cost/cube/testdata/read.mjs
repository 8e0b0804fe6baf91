// Prints the rows of a Parquet file, a line of JSON each, as hyparquet reads them: node read.mjs MODULES FILE
const [modules, file] = process.argv.slice(2)
const { asyncBufferFromFile, parquetReadObjects } = await import(`${modules}/hyparquet/src/node.js`)
const { compressors } = await import(`${modules}/hyparquet-compressors/src/index.js`)
const rows = await parquetReadObjects({
  file: await asyncBufferFromFile(file), compressors, parsers: { timestampFromMilliseconds: millis => millis },
})
for (const row of rows) {
  console.log(JSON.stringify(row, (_, v) => typeof v === 'bigint' || typeof v === 'number' ? v.toString() : v))
}
