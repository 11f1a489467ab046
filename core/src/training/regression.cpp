// SPDX-License-Identifier: BSD-3-Clause
#include "training/regression.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <thread>

#include "base/sha256.hpp"
#include "base/text.hpp"
#include "registry/registry.hpp"
#include "runtime/family_state.hpp"

namespace zelos {
namespace {

using nlohmann::json;
using RowMatrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

const zelos_train& trainer_of(const zelos_family& family) {
  const auto* trainer = static_cast<const zelos_train*>(family.get_extension(ZELOS_EXT_TRAIN));
  if (trainer == nullptr) throw Error(ZELOS_E_MISSING, std::string("family '") + family.id + "' can't be trained");
  return *trainer;
}

/// Checkpoints: one artifact-format file per fit; its key says what it belongs to.
class Checkpoint {
 public:
  Checkpoint(const std::filesystem::path& folder, std::string key) : key_(std::move(key)) {
    if (!folder.empty()) file_ = folder / (key_.substr(0, 16) + ".h5");
  }

  bool load(FamilyState* state, bool* finished) const {
    if (file_.empty() || !std::filesystem::exists(file_)) return false;
    artifact::Opened opened = artifact::read(file_);
    const json& document = opened.contents.document;
    if (document.value("key", "") != key_) return false;
    *finished = document.value("finished", false);
    state->settings = document.at("settings").get<std::string>();
    for (const json& name : document.at("names")) {
      state->names.push_back(name.get<std::string>());
      state->arrays.push_back(std::move(opened.contents.arrays.at(state->names.back())));
    }
    return true;
  }

  void save(const zelos_state& source, bool finished) const {
    if (file_.empty()) return;
    FamilyState state = FamilyState::copy(source);
    artifact::Contents contents;
    contents.document = {{"key", key_}, {"finished", finished}, {"settings", state.settings}, {"names", state.names}};
    for (size_t i = 0; i < state.names.size(); ++i) contents.arrays[state.names[i]] = std::move(state.arrays[i]);
    artifact::write(file_, contents);
  }

 private:
  std::string key_;
  std::filesystem::path file_;
};

}  // namespace

void FeatureTable::add(const std::string& name, Eigen::VectorXd values, bool may_rest) {
  if (may_rest) resting_.insert(name);
  if (!columns_.emplace(name, std::move(values)).second) {
    throw Error(ZELOS_E_ARGUMENT, "feature '" + name + "' is defined twice, or is the name of a parameter");
  }
}

const Eigen::VectorXd& FeatureTable::column(const std::string& name) const {
  const auto found = columns_.find(name);
  if (found != columns_.end()) return found->second;
  std::vector<std::string> names;
  for (const auto& entry : columns_) names.push_back(entry.first);
  throw Error(ZELOS_E_ARGUMENT, "no parameter or feature '" + name + "'" + did_you_mean(name, names));
}

Eigen::MatrixXd FeatureTable::columns(const std::vector<std::string>& names) const {
  Eigen::MatrixXd x(names.empty() ? 0 : column(names[0]).size(), static_cast<int64_t>(names.size()));
  for (size_t j = 0; j < names.size(); ++j) x.col(j) = column(names[j]);
  return x;
}

/// The family's params with names of inputs, which may stand in lists of lists, replaced by their positions.
json with_positions(const std::string& who, json params, const std::vector<std::string>& inputs) {
  for (auto& [key, value] : params.items()) {
    if (!value.is_array()) continue;
    for (json& list : value) {
      if (!list.is_array()) continue;
      for (json& entry : list) {
        if (!entry.is_string()) continue;
        const auto name = entry.get<std::string>();
        const auto at = std::find(inputs.begin(), inputs.end(), name);
        if (at == inputs.end()) {
          throw Error(ZELOS_E_ARGUMENT, who + ": emulator_fn params: " + key + ": '" + name +
                                            "' is none of its features" + did_you_mean(name, inputs) + " (they are " +
                                            join(inputs, ", ") + ")");
        }
        entry = at - inputs.begin();
      }
    }
  }
  return params;
}

void check_family(const std::string& who, const EmulatorFunction& function, const std::vector<std::string>& inputs) {
  const zelos_family* family = nullptr;
  try {
    family = &registry::find(function.type);
  } catch (const Error& e) {
    throw Error(e.status(), who + ": emulator_fn.type: " + e.what());
  }
  const zelos_train& trainer = trainer_of(*family);
  const json params = with_positions(who, function.params, inputs);
  if (trainer.struct_size >= offsetof(zelos_train, check) + sizeof(trainer.check) && trainer.check != nullptr) {
    zelos_error error{sizeof error, 0, {}};
    const zelos_status status = trainer.check(params.dump().c_str(), static_cast<int64_t>(inputs.size()), &error);
    if (status != ZELOS_OK) throw Error(status, who + ": " + error.message);
    return;
  }
  std::vector<std::string> known;
  const json defaults = json::parse(trainer.defaults_json);
  for (const auto& item : defaults.items()) known.push_back(item.key());
  for (const auto& item : function.params.items()) {
    if (std::find(known.begin(), known.end(), item.key()) != known.end()) continue;
    throw Error(ZELOS_E_ARGUMENT, who + ": emulator_fn params: unknown key '" + item.key() + "'" +
                                      did_you_mean(item.key(), known) + " (known: " + join(known, ", ") + ")");
  }
}

json RegressionRunner::fit(const std::string& title, const EmulatorFunction& function, const FeatureTable& features,
                           const std::vector<std::string>& inputs, const Eigen::MatrixXd& y,
                           const Eigen::VectorXd& negligible, const std::string& path, artifact::Contents* contents) {
  const zelos_family& family = registry::find(function.type);
  const zelos_train& trainer = trainer_of(family);
  const Eigen::MatrixXd raw = features.columns(inputs);
  const Eigen::VectorXd center = 0.5 * (raw.colwise().maxCoeff() + raw.colwise().minCoeff()).transpose();
  Eigen::VectorXd scale(center.size());
  for (int64_t j = 0; j < scale.size(); ++j) {
    const double half = 0.5 * (raw.col(j).maxCoeff() - raw.col(j).minCoeff());
    if (!(half > 0) && !features.may_rest(inputs[j])) {
      throw Error(ZELOS_E_ARGUMENT, "feature '" + inputs[j] + "' does not vary over the training set");
    }
    scale[j] = half > 0 ? 1 / half : 1;
  }
  const RowMatrix x = (raw.rowwise() - center.transpose()) * scale.asDiagonal();
  const RowMatrix targets = y;
  const std::string params = with_positions(title, function.params, inputs).dump();

  Sha256 digest;
  for (const std::string& text : {std::string(family.id), std::string(family.version), params, std::to_string(seed_)}) {
    digest.update(text.data(), text.size() + 1);
  }
  digest.update(x.data(), x.size() * sizeof(double));
  digest.update(targets.data(), targets.size() * sizeof(double));
  const Checkpoint checkpoint(options_.checkpoint_folder, to_hex(digest.finish()));

  FamilyState stored;
  bool finished = false;
  const bool resumed = checkpoint.load(&stored, &finished);
  if (!finished) {
    std::vector<zelos_array> views;
    const zelos_state resume = stored.view(&views);
    const zelos_training_set set{sizeof set, x.rows(),       x.cols(),         targets.cols(),
                                 x.data(),   targets.data(), negligible.data()};
    struct Context {
      RegressionRunner* runner;
      const std::string* title;
      const Checkpoint* checkpoint;
    } context{this, &title, &checkpoint};
    zelos_train_options options{};
    options.struct_size = sizeof options;
    options.params_json = params.c_str();
    options.seed = static_cast<uint64_t>(seed_);
    options.n_threads = options_.n_threads > 0 ? options_.n_threads
                                               : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
    options.resume = resumed ? &resume : nullptr;
    options.data = &context;
    options.progress = [](void* data, double fraction, double, const char* message) -> int {
      const auto& c = *static_cast<Context*>(data);
      if (!c.runner->options_.progress) return 0;
      const double whole = (static_cast<double>(c.runner->done_) + fraction) / static_cast<double>(c.runner->expected_);
      return c.runner->options_.progress(*c.title, std::min(1.0, whole), message == nullptr ? "" : message) ? 0 : 1;
    };
    options.checkpoint = [](void* data, const zelos_state* state, zelos_error*) -> zelos_status {
      try {
        static_cast<Context*>(data)->checkpoint->save(*state, false);
        return ZELOS_OK;
      } catch (const std::exception&) {
        return ZELOS_E_IO;
      }
    };
    FamilyState result;
    const zelos_host host = empty_host();
    zelos_error error{sizeof error, 0, {}};
    const zelos_status status = trainer.train(&host, &set, &options, FamilyState::save, &result, &error);
    if (status != ZELOS_OK) throw Error(status, title + ": " + error.message);
    checkpoint.save(result.view(&views), true);
    stored = std::move(result);
  }
  ++done_;
  if (options_.progress &&
      !options_.progress(title, std::min(1.0, static_cast<double>(done_) / static_cast<double>(expected_)), "")) {
    throw Error(ZELOS_E_CANCELLED, title + ": cancelled");
  }

  json block{{"family", family.id},
             {"family_version", family.version},
             {"settings", json::parse(stored.settings)},
             {"inputs", inputs}};
  std::move(stored).store(path, contents);
  for (const auto& [name, v] : {std::pair<const char*, const Eigen::VectorXd*>{"center", &center}, {"scale", &scale}}) {
    artifact::Array a;
    a.shape = {v->size()};
    a.data = AlignedBuffer(v->size());
    std::copy(v->data(), v->data() + v->size(), a.data.begin());
    contents->arrays[path + "/" + name] = std::move(a);
  }
  return block;
}

Eigen::MatrixXd RegressionRunner::predict(const json& block, const std::string& path, const FeatureTable& features,
                                          const artifact::Contents& contents) {
  const zelos_family& family = registry::find(block.at("family").get<std::string>());
  const std::string settings = block.at("settings").dump();
  std::vector<zelos_array> arrays;
  const zelos_state state = stored_state(contents, path, settings, &arrays);
  const zelos_host host = empty_host();
  zelos_error error{sizeof error, 0, {}};
  zelos_model* raw = nullptr;
  if (family.open(&host, &state, &raw, &error) != ZELOS_OK) throw Error(ZELOS_E_INTERNAL, path + ": " + error.message);
  const std::unique_ptr<zelos_model, void (*)(zelos_model*)> model(raw, family.close);
  int64_t n_in = 0, n_out = 0;
  family.shape(model.get(), &n_in, &n_out);
  const Eigen::MatrixXd x = features.columns(block.at("inputs").get<std::vector<std::string>>());
  const AlignedBuffer &center = contents.arrays.at(path + "/center").data,
                      &scale = contents.arrays.at(path + "/scale").data;
  AlignedBuffer workspace(family.workspace_bytes(model.get()) / sizeof(double) + 1), in(n_in), out(n_out);
  Eigen::MatrixXd y(x.rows(), n_out);
  for (int64_t i = 0; i < x.rows(); ++i) {
    for (int64_t j = 0; j < n_in; ++j) in[j] = (x(i, j) - center[j]) * scale[j];
    if (family.predict(model.get(), in.data(), out.data(), workspace.data(), &error) != ZELOS_OK) {
      throw Error(ZELOS_E_NUMERIC, path + ": " + error.message);
    }
    for (int64_t j = 0; j < n_out; ++j) y(i, j) = out[j];
  }
  return y;
}

}  // namespace zelos
