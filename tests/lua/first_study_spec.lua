-- The demo: it runs, leaves what it says, and its losses are the same to the last bit whenever and on
-- however many
-- threads it runs.

package.path = (debug.getinfo(1, "S").source:match("^@(.*)first_study_spec%.lua$") or "") .. "?.lua;"
  .. package.path
local helper = require "cli_helper"
local cjson = require "cjson"

local folder

-- Runs it in a folder of its own with so many threads. Returns its record, what it printed, and the folder.
local function study(name, threads, arguments)
  local out = folder .. "/" .. name
  local status, text, err = helper.rapt(("run '%s/scripts/examples/first_study.lua' %s --out '%s'"):format(
    helper.source, arguments, out), { env = "RAPT_THREADS=" .. threads .. " COLUMNS=80" })
  assert.same({ 0, "" }, { status, err })
  local handle = assert(io.open(out .. "/results.json"))
  local record = cjson.decode(handle:read("a"))
  handle:close()
  return record, text, out
end

local function losses(record)
  local list = {}
  for _, r in ipairs(record.runs) do
    list[#list + 1] = r.op .. r.seed .. " " .. r.validation_exact .. " " .. table.concat(r.training_exact,
      " ")
  end
  return list
end

describe("the first study", function()
  setup(function() folder = helper.folder() end)
  teardown(function() os.execute("rm -r '" .. folder .. "'") end)

  it("has the same losses to the last bit, again and on any number of threads", function()
    local first = study("a", 2, "--quick --steps 5")
    assert.equal(4, #first.runs)
    for _, threads in ipairs { 1, 2, 3 } do
      assert.same(losses(first), losses((study("b" .. threads, threads, "--quick --steps 5"))))
    end
  end)

  it("learns, and shows and keeps what it found", function()
    local record, text, out = study("c", 2, "--quick --steps 40 --seeds 1")
    for _, r in ipairs(record.runs) do
      assert.equal(40, #r.training_exact)
      assert.is_true(r.validation < 6.5, r.validation)
      assert.is_true(tonumber(r.training_exact[40]) < tonumber(r.training_exact[1]) - 1)
    end
    for _, word in ipairs { "Held-out loss", "softmax", "cog", "of peak", "weights of each head",
      "Results" } do
      assert.truthy(text:find(word, 1, true), word)
    end
    for line in text:gmatch("[^\n]+") do assert.is_true((utf8.len(line) or #line) <= 104, line) end
    for _, name in ipairs { "loss.png", "attention_softmax.png", "attention_cog.png" } do
      local handle = assert(io.open(out .. "/" .. name, "rb"), name)
      assert.equal("\137PNG", handle:read(4))
      handle:close()
    end
  end)

  it("takes another text and other operators, and says what is wrong", function()
    local path = folder .. "/text"
    local handle = assert(io.open(path, "w"))
    handle:write(("the quick brown fox. "):rep(100))
    handle:close()
    local record = study("d", 2, ("'%s' --quick --steps 2 --seeds 1 --ops cog"):format(path))
    assert.equal(1, #record.runs)
    local script = "run '" .. helper.source .. "/scripts/examples/first_study.lua' --quick --out '"
      .. folder .. "/e' "
    for arguments, message in pairs { ["--ops sofmax"] = "softmax", ["/nonexistent"] = "/nonexistent",
      ["/etc/hostname"] = "too few", ["--steps 0"] = "positive whole number" } do
      local status, _, err = helper.rapt(script .. arguments)
      assert.is_true(status ~= 0)
      assert.truthy(err:find(message, 1, true), err)
    end
  end)
end)
