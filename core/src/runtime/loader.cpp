// SPDX-License-Identifier: BSD-3-Clause
// loader.cpp: from the document and arrays of an artifact to a model, every index and shape checked.
#include <algorithm>
#include <cmath>
#include <functional>

#include "base/text.hpp"
#include "registry/registry.hpp"
#include "runtime/model.hpp"
#include "runtime/names.hpp"

namespace zelos {
namespace {

using nlohmann::json;

class Loader {
 public:
  Loader(Emulator::Impl* model, std::string file) : m_(*model), file_(std::move(file)) {}

  void run() {
    const json& doc = document();
    m_.name = text(doc, "name");
    m_.version = text(doc, "version");
    m_.info = doc;
    m_.info["id"] = m_.opened.id;
    m_.info["format_version"] = m_.opened.format_version;
    for (const json& p : list(doc, "parameters")) load_parameter(p);
    for (const auto& [name, value] : member(doc, "fixed").items()) m_.fixed.emplace_back(name, value.get<double>());
    for (const json& f : list(doc, "features")) load_feature(f);
    m_.descriptions.resize(list(doc, "outputs").size());
    for (const json& o : list(doc, "outputs")) m_.outputs.emplace_back(), load_output(o);
    for (const json& s : list(doc, "solvable")) load_solvable(s);
    load_region(member(doc, "region"));
  }

 private:
  const json& document() const { return m_.opened.contents.document; }

  [[noreturn]] void fail(const std::string& what) const { throw Error(ZELOS_E_FORMAT, file_ + ": " + what); }

  const json& member(const json& object, const char* key) const {
    if (!object.is_object() || !object.contains(key)) fail(std::string("the document lacks '") + key + "'");
    return object[key];
  }
  const json& list(const json& object, const char* key) const {
    const json& value = member(object, key);
    if (!value.is_array()) fail(std::string("'") + key + "' should be a list");
    return value;
  }
  std::string text(const json& object, const char* key) const { return member(object, key).get<std::string>(); }
  double number(const json& object, const char* key) const {
    const json& value = member(object, key);
    if (!value.is_number()) fail(std::string("'") + key + "' should be a number, found " + value.dump());
    return value.get<double>();
  }

  const artifact::Array& array(const std::string& path, size_t rank) const {
    const auto found = m_.opened.contents.arrays.find(path);
    if (found == m_.opened.contents.arrays.end()) fail("array '" + path + "' is missing");
    if (found->second.shape.size() != rank) {
      fail("array '" + path + "': expected rank " + std::to_string(rank) + ", found " +
           std::to_string(found->second.shape.size()));
    }
    return found->second;
  }
  const artifact::Array& vector(const std::string& path, int64_t size) const {
    const artifact::Array& a = array(path, 1);
    if (size >= 0 && a.shape[0] != size) {
      fail("array '" + path + "': expected length " + std::to_string(size) + ", found " + std::to_string(a.shape[0]));
    }
    return a;
  }
  std::vector<double> values(const std::string& path) const {
    const artifact::Array& a = array(path, 1);
    return {a.data.begin(), a.data.begin() + a.shape[0]};
  }

  int feature(const std::string& name) const {
    for (size_t i = 0; i < m_.features.size(); ++i) {
      if (m_.features[i].name == name) return static_cast<int>(i);
    }
    fail("unknown feature '" + name + "'");
  }
  std::vector<int> features(const json& names) const {
    std::vector<int> indices;
    for (const json& name : names) indices.push_back(feature(name.get<std::string>()));
    return indices;
  }

  void load_parameter(const json& p) {
    Parameter parameter{text(p, "name"),  p.value("unit", ""), p.value("latex", ""),
                        number(p, "min"), number(p, "max"),    {}};
    if (!(parameter.min < parameter.max)) fail("parameter '" + parameter.name + "' has an empty range");
    parameter.synonyms = synonyms(parameter.name);
    Feature f;
    f.name = parameter.name;
    m_.features.push_back(std::move(f));
    m_.parameters.push_back(std::move(parameter));
  }

  std::unique_ptr<Regressor> regressor(const json& block, const std::string& path) const {
    const zelos_family& family = registry::find(text(block, "family"));
    const std::vector<int> inputs = features(list(block, "inputs"));
    const int64_t d = static_cast<int64_t>(inputs.size());
    const std::string prefix = path + "/model/";
    std::vector<zelos_array> arrays;
    for (auto it = m_.opened.contents.arrays.lower_bound(prefix);
         it != m_.opened.contents.arrays.end() && it->first.compare(0, prefix.size(), prefix) == 0; ++it) {
      zelos_array a{it->first.c_str() + prefix.size(),
                    it->second.data.data(),
                    static_cast<int32_t>(it->second.shape.size()),
                    {0, 0, 0, 0}};
      std::copy(it->second.shape.begin(), it->second.shape.end(), a.shape);
      arrays.push_back(a);
    }
    const std::string settings = member(block, "settings").dump();
    const zelos_state state{sizeof state, static_cast<uint32_t>(arrays.size()), arrays.data(), settings.c_str()};
    return std::make_unique<Regressor>(family, state, inputs, vector(path + "/center", d).data.data(),
                                       vector(path + "/scale", d).data.data(), file_ + ": " + path);
  }

  /// {"ombh2": feature's name or number, ...}
  BackgroundSource background_source(const json& inputs) const {
    BackgroundSource source{};
    for (int i = 0; i < kBackgroundInputs; ++i) {
      const json& input = member(inputs, kBackgroundInputNames[i]);
      source.feature[i] = input.is_string() ? feature(input.get<std::string>()) : -1;
      source.constant[i] = input.is_string() ? 0 : input.get<double>();
    }
    return source;
  }

  BackgroundQuantity background_quantity(const json& object) const {
    BackgroundQuantity quantity{};
    if (!parse(text(object, "quantity"), &quantity)) fail("no background has a '" + text(object, "quantity") + "'");
    return quantity;
  }

  /// Where background() has an answer that is finite, or a distance of zero.
  void check_background_z(BackgroundQuantity quantity, double first, double last) const {
    const bool grows = quantity == BackgroundQuantity::growth || quantity == BackgroundQuantity::growth_rate;
    if (first >= 0 && std::isfinite(last) && !(grows && last > kGrowthLargestZ)) return;
    fail(std::string("the background's ") + to_string(quantity) + " is not known at z from " + to_text(first) + " to " +
         to_text(last));
  }

  void load_feature(const json& f) {
    Feature feature;
    feature.name = text(f, "name");
    const std::string type = text(f, "type");
    feature.of = features(list(f, "of"));
    if (type == "log") {
      feature.kind = Feature::Kind::logarithm;
      if (feature.of.size() != 1) fail("feature '" + feature.name + "': expected one input");
    } else if (type == "linear") {
      feature.kind = Feature::Kind::linear;
      feature.coefficients = list(f, "coefficients").get<std::vector<double>>();
      feature.constant = f.value("constant", 0.0);
      if (feature.coefficients.size() != feature.of.size()) fail("feature '" + feature.name + "': lengths differ");
    } else if (type == "step") {
      feature.kind = Feature::Kind::step;
      feature.constant = number(f, "at");
      if (feature.of.size() != 1) fail("feature '" + feature.name + "': expected one input");
    } else if (type == "emulated") {
      feature.kind = Feature::Kind::emulated;
      feature.exponential = f.value("log", false);
      feature.regressor = regressor(member(f, "block"), "features/" + feature.name);
      if (feature.regressor->n_outputs() != 1) fail("feature '" + feature.name + "': expected one output");
      if (f.contains("amplitude")) feature.amplitude = this->feature(text(f, "amplitude"));
    } else if (type == "background") {
      feature.kind = Feature::Kind::background;
      feature.quantity = background_quantity(f);
      feature.source = background_source(member(f, "inputs"));
      feature.z = number(f, "z");
      check_background_z(feature.quantity, feature.z, feature.z);
    } else {
      fail("feature '" + feature.name + "': unknown type '" + type + "'");
    }
    m_.features.push_back(std::move(feature));
  }

  AxisModel load_axis(const json& a, const std::string& path) const {
    AxisModel axis;
    axis.axis.name = text(a, "name");
    axis.axis.unit = a.value("unit", "");
    axis.axis.values = values(path + "/axis/" + axis.axis.name);
    const std::string coordinate = text(a, "coordinate");
    if (coordinate == "label") {
      axis.coordinate = Coordinate::label;
      axis.axis.labels = list(a, "labels").get<std::vector<std::string>>();
      if (axis.axis.labels.size() != axis.axis.values.size()) fail(path + ": labels and values differ in length");
    } else {
      if (coordinate != "linear" && coordinate != "log" && coordinate != "log1p") {
        fail(path + ": axis '" + axis.axis.name + "': unknown coordinate '" + coordinate + "'");
      }
      axis.coordinate = coordinate == "log"     ? Coordinate::log
                        : coordinate == "log1p" ? Coordinate::log1p
                                                : Coordinate::linear;
    }
    if (axis.axis.values.empty()) fail(path + ": axis '" + axis.axis.name + "' has no points");
    const std::vector<double> mapped = axis.mapped();
    for (size_t i = 0; i < mapped.size(); ++i) {
      if (!std::isfinite(mapped[i]) || (i > 0 && mapped[i] <= mapped[i - 1]))
        fail(path + ": axis '" + axis.axis.name + "' is not ascending");
    }
    return axis;
  }

  PointTransform load_point(const json& t, int n_outputs_before) const {
    PointTransform point{};
    const std::string type = text(t, "type");
    for (const auto kind : {PointTransform::Kind::log, PointTransform::Kind::arcsinh, PointTransform::Kind::amplitude,
                            PointTransform::Kind::tilt, PointTransform::Kind::ratio, PointTransform::Kind::correlation,
                            PointTransform::Kind::background}) {
      if (type != to_string(kind)) continue;
      point.kind = kind;
      point.logarithmic = t.value("logarithmic", false);
      point.offset = t.value("offset", 0.0);
      point.pivot = t.value("pivot", 1.0);
      point.scale = t.value("scale", 1.0);
      point.axis = t.value("axis", 0);
      if (t.contains("feature")) point.feature = feature(t["feature"].get<std::string>());
      if (t.contains("other")) {
        if (t["other"].size() > 2) fail("transform '" + type + "': expected at most two other outputs");
        int i = 0;
        for (const json& other : t["other"])
          point.other[i++] = earlier_output(other.get<std::string>(), n_outputs_before);
      }
      if (kind == PointTransform::Kind::background) {
        point.power = number(t, "power");
        point.quantity = background_quantity(t);
        point.source = background_source(member(t, "inputs"));
      }
      check_point(point, n_outputs_before);
      return point;
    }
    fail("unknown transform '" + type + "'");
  }

  /// Everything that the transform will read is there.
  void check_point(const PointTransform& t, int index) const {
    const std::string where = "outputs/" + m_.descriptions[index].name + ": transform '" + to_string(t.kind) + "' ";
    const bool power = t.kind == PointTransform::Kind::amplitude || t.kind == PointTransform::Kind::tilt;
    if (power && t.feature < 0) fail(where + "lacks its feature");
    const std::vector<AxisModel>& axes = m_.outputs[index].axes;
    if (t.axis < 0 || t.axis >= static_cast<int>(axes.size())) fail(where + "names axis " + std::to_string(t.axis));
    if (t.kind == PointTransform::Kind::background) {
      const std::vector<double>& z = axes[t.axis].axis.values;
      check_background_z(t.quantity, z.front(), z.back());
    }
    const int n_others = t.kind == PointTransform::Kind::ratio         ? 1
                         : t.kind == PointTransform::Kind::correlation ? 2
                                                                       : 0;
    for (int i = 0; i < n_others; ++i) {
      if (t.other[i] < 0) fail(where + "needs " + std::to_string(n_others) + " other outputs");
      const std::vector<AxisModel>& other = m_.outputs[t.other[i]].axes;
      bool same = other.size() == axes.size();
      for (size_t a = 0; same && a < axes.size(); ++a) same = other[a].axis.values == axes[a].axis.values;
      if (!same) fail(where + "refers to output '" + m_.descriptions[t.other[i]].name + "', which has other axes");
    }
  }

  int earlier_output(const std::string& name, int before) const {
    for (int i = 0; i < before; ++i) {
      if (m_.descriptions[i].name == name) return i;
    }
    fail("a transform refers to output '" + name + "', which does not stand before it");
  }

  void load_output(const json& o) {
    const int index = static_cast<int>(m_.outputs.size()) - 1;
    OutputModel& output = m_.outputs.back();
    Output& description = m_.descriptions[index];
    description.name = text(o, "name");
    description.unit = o.value("unit", "");
    description.units = o.value("units", std::vector<std::string>{});
    const std::string path = "outputs/" + description.name;
    for (const json& a : list(o, "axes")) {
      output.axes.push_back(load_axis(a, path));
      description.axes.push_back(output.axes.back().axis);
    }
    if (output.axes.empty() || output.axes.size() > 2)
      fail(path + ": expected 1 or 2 axes, found " + std::to_string(output.axes.size()));
    output.description = &description;
    int index_of_segment = 0;
    int64_t covered = 0;
    for (const json& segment : list(o, "segments")) {
      output.segments.push_back(load_segment(segment, path + "/segment" + std::to_string(index_of_segment++), output));
      description.family = output.segments.back().blocks.front().regressor->family_id();
      if (segment.at("first").get<int64_t>() != covered) fail(path + ": its segments leave a gap, or overlap");
      covered += segment.at("size").get<int64_t>();
    }
    if (output.segments.empty() || covered != static_cast<int64_t>(output.axes[0].axis.values.size())) {
      fail(path + ": its segments cover " + std::to_string(covered) + " of " +
           std::to_string(output.axes[0].axis.values.size()) + " points of the axis");
    }
    for (const json& t : list(o, "point_transforms")) output.point_transforms.push_back(load_point(t, index));
    output.truncation_error = o.value("truncation_error", 0.0);
  }

  OutputModel::Segment load_segment(const json& s, const std::string& path, const OutputModel& output) const {
    OutputModel::Segment segment;
    // Errors that only an error model reads; older files lack them.
    if (m_.opened.contents.arrays.count(path + "/truncation") != 0) array(path + "/truncation", 1);
    segment.axes = output.axes;
    const int64_t first = member(s, "first").get<int64_t>(), size = member(s, "size").get<int64_t>();
    std::vector<double>& points = segment.axes[0].axis.values;
    if (first < 0 || size < 1 || first > static_cast<int64_t>(points.size()) - size)
      fail(path + ": range outside the axis");
    points = std::vector<double>(points.begin() + first, points.begin() + first + size);
    int64_t field = 1;
    for (const AxisModel& axis : segment.axes) field *= static_cast<int64_t>(axis.axis.values.size());
    if (s.value("knots", false)) {
      segment.breakpoints = values(path + "/breakpoints");
      field = static_cast<int64_t>(segment.breakpoints.size()) + 2;
      if (segment.axes.size() != 1) fail(path + ": knots need one axis");
    }
    const artifact::Array& mean = vector(path + "/mean", field);
    const std::vector<double>& knots = segment.breakpoints;
    if (s.value("knots", false) &&
        (knots.size() < 2 || knots.front() != points.front() || knots.back() != points.back() ||
         std::adjacent_find(knots.begin(), knots.end(), std::greater_equal<>()) != knots.end())) {
      fail(path + ": the breakpoints do not ascend from the segment's first point to its last");
    }
    segment.mean = Eigen::Map<const Eigen::VectorXd>(mean.data.data(), field);
    int index_of_block = 0;
    for (const json& b : list(s, "blocks")) {
      const std::string block_path = path + "/block" + std::to_string(index_of_block++);
      OutputModel::Block block;
      block.regressor = regressor(b, block_path);
      const artifact::Array& basis = array(block_path + "/basis", 2);
      if (basis.shape[0] != field || basis.shape[1] != block.regressor->n_outputs()) {
        fail("array '" + block_path + "/basis': expected " + std::to_string(field) + " x " +
             std::to_string(block.regressor->n_outputs()) + ", found " + std::to_string(basis.shape[0]) + " x " +
             std::to_string(basis.shape[1]));
      }
      block.basis = Eigen::Map<const Eigen::Matrix<double, -1, -1, Eigen::RowMajor>>(basis.data.data(), basis.shape[0],
                                                                                     basis.shape[1]);
      segment.blocks.push_back(std::move(block));
    }
    if (segment.blocks.empty()) fail(path + ": no blocks");
    if (s.contains("stretch") && !s["stretch"].is_null()) {
      const json& stretch = s["stretch"];
      segment.stretch_feature = feature(text(stretch, "feature"));
      segment.stretch_reference = number(stretch, "reference");
      segment.stretch = Stretch{points.front(), number(stretch, "full"), points.back()};
      if (segment.breakpoints.empty()) fail(path + ": a stretch needs knots");
      if (!(segment.stretch_reference > 0 && segment.stretch->x_full < segment.stretch->x_end))
        fail(path + ": impossible stretch");
    }
    return segment;
  }

  void load_solvable(const json& s) {
    SolvableParameter solvable{text(s, "name"), feature(text(s, "feature")), feature(text(s, "parameter")),
                               number(s, "min"), number(s, "max")};
    if (solvable.parameter >= static_cast<int>(m_.parameters.size()))
      fail("solvable '" + solvable.name + "': solves for no parameter");
    m_.solvable_names.emplace_back(solvable.name, m_.features[solvable.parameter].name);
    m_.solvable.push_back(std::move(solvable));
  }

  void load_limit(const json& limit) {
    const std::string name = text(limit, "name");
    std::vector<double> coefficients(m_.parameters.size(), 0.0);
    const json &of = list(limit, "of"), &given = list(limit, "coefficients");
    if (of.size() != given.size()) fail("limit '" + name + "': lengths differ");
    for (size_t i = 0; i < of.size(); ++i) {
      const int index = feature(of[i].get<std::string>());
      if (index >= static_cast<int>(m_.parameters.size())) fail("limit '" + name + "': expected parameters");
      coefficients[index] = given[i].get<double>();
    }
    const double lower = number(limit, "min"), upper = number(limit, "max");
    if (!(lower < upper)) fail("limit '" + name + "' has an empty range");
    m_.region.add_limit(name, std::move(coefficients), lower, upper);
  }

  void load_region(const json& r) {
    std::vector<std::string> names;
    std::vector<double> lower, upper;
    for (const Parameter& p : m_.parameters) {
      names.push_back(p.name);
      lower.push_back(p.min);
      upper.push_back(p.max);
    }
    m_.region = Region(names, lower, upper);
    if (r.contains("limits")) {
      for (const json& limit : list(r, "limits")) load_limit(limit);
    }
    try {
      m_.region.set_hull(Hull::load(r, m_.opened.contents.arrays, lower, upper));
    } catch (const std::exception& e) {
      fail(std::string("region: ") + e.what());
    }
    if (r.contains("tolerance") && r["tolerance"].is_number()) m_.region.tolerance = r["tolerance"].get<double>();
  }

  Emulator::Impl& m_;
  std::string file_;
};

}  // namespace

std::vector<double> AxisModel::map(const std::vector<double>& values) const {
  std::vector<double> mapped(values);
  if (coordinate == Coordinate::log) {
    for (double& v : mapped) v = std::log(v);
  } else if (coordinate == Coordinate::log1p) {
    for (double& v : mapped) v = std::log1p(v);
  }
  return mapped;
}

int64_t OutputModel::Segment::n_weights() const {
  int64_t n = 0;
  for (const Block& block : blocks) n += block.regressor->n_outputs();
  return n;
}

int64_t OutputModel::n_weights() const {
  int64_t n = 0;
  for (const Segment& segment : segments) n += segment.n_weights();
  return n;
}

int Emulator::Impl::output_index(const std::string& wanted) const {
  std::vector<std::string> names;
  for (size_t i = 0; i < descriptions.size(); ++i) {
    if (descriptions[i].name == wanted) return static_cast<int>(i);
    names.push_back(descriptions[i].name);
  }
  throw Error(ZELOS_E_ARGUMENT, "emulator " + name + " has no output '" + wanted + "'" + did_you_mean(wanted, names) +
                                    " (it has: " + join(names, ", ") + ")");
}

int Emulator::Impl::feature_index(const std::string& wanted) const {
  for (size_t i = 0; i < features.size(); ++i) {
    if (features[i].name == wanted) return static_cast<int>(i);
  }
  return -1;
}

std::shared_ptr<const Emulator::Impl> load_model(artifact::Opened opened, const std::string& name_for_messages) {
  auto model = std::make_shared<Emulator::Impl>();
  model->opened = std::move(opened);
  try {
    Loader(model.get(), name_for_messages).run();
  } catch (const nlohmann::json::exception& e) {
    throw Error(ZELOS_E_FORMAT, name_for_messages + ": " + e.what());
  } catch (const Error& e) {
    const std::string message = e.what();
    const bool named = message.compare(0, name_for_messages.size(), name_for_messages) == 0;
    // Whatever the file asked for that can't be is the file's fault.
    const zelos_status status = e.status() == ZELOS_E_ARGUMENT ? ZELOS_E_FORMAT : e.status();
    throw Error(status, named ? message : name_for_messages + ": " + message);
  }
  return model;
}

}  // namespace zelos
