-- From a tensor (or nested tables of numbers) to the panels of a figure: matrices of plain numbers, small
-- enough to show.
--
-- A panel is {label, rows, columns, values = {{...}, ...}} of the shown size; rows and columns of the data
-- stand in
-- full_rows and full_columns. A cell that stands for many numbers shows the mean of the finite ones among
-- them.

local panels = {}

local HUGE = math.huge
-- A matrix of more numbers is averaged by matrix products before it is read into Lua.
local READ_AT_MOST = 1 << 18

local function is_finite(x) return x == x and x ~= HUGE and x ~= -HUGE end

-- How the `shown` cells cover `n` positions: for each cell the list {position, share, position, share, ...}.
local function cover(n, shown)
  local cells = {}
  for i = 1, shown do
    local from, to = (i - 1) * n / shown, i * n / shown
    local cell = {}
    for at = math.floor(from), math.min(n, math.ceil(to)) - 1 do
      local share = math.min(to, at + 1) - math.max(from, at)
      if share > 1e-9 then
        cell[#cell + 1] = at + 1
        cell[#cell + 1] = share
      end
    end
    cells[i] = cell
  end
  return cells
end

-- Rows of numbers, averaged to `shown_rows` by `shown_columns`. A cell without a finite number shows what it
-- has.
local function average(matrix, shown_rows, shown_columns)
  local rows, columns = #matrix, #matrix[1]
  if rows == shown_rows and columns == shown_columns then return matrix end
  local by_row, by_column = cover(rows, shown_rows), cover(columns, shown_columns)
  local result = {}
  for i = 1, shown_rows do
    local line = {}
    for j = 1, shown_columns do
      local sum, weight, other = 0, 0, nil
      local row_cell, column_cell = by_row[i], by_column[j]
      for a = 1, #row_cell, 2 do
        local row, share = matrix[row_cell[a]], row_cell[a + 1]
        for b = 1, #column_cell, 2 do
          local x = row[column_cell[b]]
          if is_finite(x) then
            sum = sum + share * column_cell[b + 1] * x
            weight = weight + share * column_cell[b + 1]
          else
            other = x
          end
        end
      end
      line[j] = weight > 0 and sum / weight or other
    end
    result[i] = line
  end
  return result
end

-- The averaging matrix of shape shown x n.
local function averaging(rapt, n, shown)
  local lines = {}
  for i, cell in ipairs(cover(n, shown)) do
    local line, total = {}, n / shown
    for j = 1, n do line[j] = 0 end
    for a = 1, #cell, 2 do line[cell[a]] = cell[a + 1] / total end
    lines[i] = line
  end
  return rapt.tensor(lines)
end

-- The numbers of a matrix tensor, averaged on the way if there are too many to read one by one.
local function read(matrix, shown_rows, shown_columns)
  local rows, columns = matrix.shape[1], matrix.shape[2]
  if rows * columns > READ_AT_MOST then
    local rapt = require "rapt"
    if (matrix * 0):sum():item() == 0 then -- NaN where any number is not finite
      if columns > shown_columns then
        matrix = rapt.matmul(matrix, averaging(rapt, columns, shown_columns):transpose(1, 2):contiguous())
      end
      if rows > shown_rows then matrix = rapt.matmul(averaging(rapt, rows, shown_rows), matrix) end
    end
  end
  return matrix:totable()
end

local function shape_of_table(t)
  local shape = {}
  while type(t) == "table" do
    shape[#shape + 1] = #t
    if #t == 0 then return shape end
    t = t[1]
  end
  if type(t) ~= "number" then
    error(("viz: expected a tensor or nested tables of numbers, got %s inside"):format(type(t)), 0)
  end
  return shape
end

-- One way to reach into tensors and tables: shape, and matrix(head indices) -> something for `numbers`.
local function source_of(data)
  if type(data) == "table" and not (getmetatable(data) or {}).__name then
    local source = { shape = shape_of_table(data) }
    function source.at(list)
      local part = data
      for _, i in ipairs(list) do part = part[i] end
      return part
    end
    function source.read(part) return part end
    return source
  end
  local kind = math.type(data) or type(data)
  if kind ~= "userdata" and kind ~= "table" then
    error(("viz: expected a tensor or nested tables of numbers, got %s"):format(kind), 0)
  end
  local source = { shape = data.shape }
  function source.at(list)
    local part = data
    for _, i in ipairs(list) do part = part[i] end
    return part
  end
  function source.read(part, rows, columns)
    return require("rapt").no_grad(function()
      part = part:to("cpu"):to("f32")
      if #part.shape ~= 2 then return part:totable() end
      return read(part, rows, columns)
    end)
  end
  return source
end

local function check_regular(matrix, columns)
  for i, row in ipairs(matrix) do
    if type(row) ~= "table" or #row ~= columns then
      error(("viz: row %d has %s entries, row 1 has %d"):format(i, type(row) == "table" and #row or "no",
        columns), 0)
    end
    for j, x in ipairs(row) do
      if type(x) ~= "number" then error(("viz: entry %d of row %d is a %s"):format(j, i, type(x)), 0) end
    end
  end
end

-- The leading index lists of each matrix, with the label that people read.
local function leading(shape)
  local list = {}
  if #shape <= 2 then
    list[1] = { index = {}, label = nil }
  elseif #shape == 3 then
    for h = 1, shape[1] do list[h] = { index = { h }, label = ("head %d"):format(h) } end
  else
    for b = 1, shape[1] do
      for h = 1, shape[2] do
        local label = shape[1] == 1 and ("head %d"):format(h) or ("batch %d, head %d"):format(b, h)
        list[#list + 1] = { index = { b, h }, label = label }
      end
    end
  end
  return list
end

--- How many matrices there are in `data`.
function panels.count(data)
  local shape = source_of(data).shape
  local n = 1
  for i = 1, #shape - 2 do n = n * shape[i] end
  return n
end

--- Reads panels of at most `max_rows` by `max_columns` cells, at most `max_panels` of them. Returns a table
-- with
--- `panels`, low and high (of the finite numbers shown), and counts nan, infinite and left_out (panels).
function panels.read(data, max_rows, max_columns, max_panels)
  local source = source_of(data)
  local shape = source.shape
  local rank = #shape
  if rank < 1 or rank > 4 then
    error(("viz.heatmap: rank %d: expected 1 to 4 dimensions (batch, head, query, key)"):format(rank), 0)
  end
  for i = 1, rank do
    if shape[i] == 0 then error("viz.heatmap: a tensor without elements, " .. "[" .. table.concat(shape,
      ",") .. "]", 0) end
  end
  local rows, columns = rank == 1 and 1 or shape[rank - 1], shape[rank]
  local result = { panels = {}, low = HUGE, high = -HUGE, nan = 0, infinite = 0, left_out = 0 }
  local shown_rows, shown_columns = math.min(rows, max_rows), math.min(columns, max_columns)
  local places = leading(shape)
  for i, place in ipairs(places) do
    if i > max_panels then
      result.left_out = #places - max_panels
      break
    end
    local matrix = source.read(source.at(place.index), shown_rows, shown_columns)
    if rank == 1 then matrix = { matrix } end
    check_regular(matrix, #matrix[1])
    for _, row in ipairs(matrix) do
      for _, x in ipairs(row) do
        if x ~= x then
          result.nan = result.nan + 1
        elseif not is_finite(x) then
          result.infinite = result.infinite + 1
        end
      end
    end
    local values = average(matrix, shown_rows, shown_columns)
    for _, row in ipairs(values) do
      for _, x in ipairs(row) do
        if is_finite(x) then
          result.low, result.high = math.min(result.low, x), math.max(result.high, x)
        end
      end
    end
    result.panels[i] = { label = place.label, rows = shown_rows, columns = shown_columns, full_rows = rows,
      full_columns = columns, values = values }
  end
  if result.low > result.high then result.low, result.high = 0, 0 end -- no finite number at all
  return result
end

return panels
