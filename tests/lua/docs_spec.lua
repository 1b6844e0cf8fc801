-- The examples of docs/lua-api.md run, and print what they say.
local lfs = require "lfs"
local rapt = require "rapt"
local helper = require "cli_helper"

-- The blocks of Lua on the page, each a list of lines.
local function blocks()
  local list, block = {}, nil
  for line in io.lines(helper.source .. "/docs/lua-api.md") do
    if line == "```lua" then
      block = {}
    elseif line == "```" then
      list[#list + 1], block = block, nil
    elseif block then
      block[#block + 1] = line
    end
  end
  return list
end

-- What the page takes as given.
local function names()
  local q = rapt.randn(1, 2, 5, 8)
  local row = q:narrow(3, 1, 1)
  local given = { rapt = rapt, q = q, k = q, v = q, q1 = row, k1 = row, v1 = row, printed = {} }
  given.t, given.a, given.b, given.c = rapt.rand(2, 4, 4), rapt.rand(4, 4), rapt.rand(4, 4), rapt.rand(4, 2)
  given.x, given.y, given.weight = rapt.rand(3, 8), rapt.rand(3, 8), rapt.rand(8)
  given.rows, given.ids = rapt.rand(5, 2), rapt.tensor({ 4, 0 }, { dtype = "i64" })
  given.logits, given.labels = rapt.rand(2, 4), rapt.tensor({ 3, 0 }, { dtype = "i64" })
  given.mask = given.a:gt(0.5)
  function given.print(...)
    for line in (tostring((...)) .. "\n"):gmatch("([^\n]*)\n") do given.printed[#given.printed + 1] = line end
  end
  return setmetatable(given, { __index = _G })
end

-- A block is a chunk, or statements and values line by line; "> " is what somebody types, and what
-- follows is the answer.
local function run(block, env)
  local chunk = load(table.concat(block, "\n"), "=docs", "t", env)
  if chunk then return chunk() end
  local answer = {}
  for _, line in ipairs(block) do
    local typed = line:match("^> (.*)")
    if not typed and block[1]:find("^> ") then
      answer[#answer + 1] = line
    else
      line = (typed or line):gsub("^local ", "")
      assert(load("return " .. line, "=docs", "t", env) or load(line, "=docs", "t", env))()
    end
  end
  assert.same(answer, env.printed)
end

describe("docs/lua-api.md", function()
  local folder, before = helper.folder(), lfs.currentdir()
  setup(function()
    lfs.chdir(folder)
    rapt.save("x.safetensors", { q = rapt.ones(2) }, { op = "cog" })
  end)
  teardown(function()
    lfs.chdir(before)
    os.execute("rm -r '" .. folder .. "'")
  end)

  local list = blocks()
  assert(#list >= 9)
  for i, block in ipairs(list) do
    it(("shows code that runs: %d, %s"):format(i, block[1]:sub(1, 40)), function()
      run(block, names())
    end)
  end
end)
